use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn record(data: Data) -> Record {
    Record {
        name: name("web.local"),
        ttl: 120,
        flush: true,
        data,
    }
}

fn message() -> Message {
    Message {
        id: 7,
        flags: Flags::ANSWER,
        questions: vec![Asked {
            name: name("web.local"),
            kind: kind::ANY,
            unicast: true,
        }],
        answers: vec![
            record(Data::A([10, 0, 0, 1].into())),
            record(Data::Ptr(name("other.local"))),
        ],
        authorities: vec![record(Data::Aaaa(Ipv6Addr::LOCALHOST))],
        additionals: vec![
            record(Data::only(name("web.local"), &[kind::A, kind::AAAA])),
            record(Data::Other {
                kind: 16,
                data: vec![1, b'x'],
            }),
        ],
    }
}

#[test]
fn a_message_survives_its_bytes() {
    let message = message();
    assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
}

#[test]
fn a_message_that_is_cut_anywhere_is_none() {
    let bytes = message().to_bytes();
    for len in 0..bytes.len() {
        assert_eq!(Message::parse(&bytes[..len]), Err(Malformed), "{len}");
    }
}

/// An answer as a stock responder writes it, with pointers.
#[test]
fn pointers_are_followed() {
    let mut bytes = vec![0, 0, 0x84, 0, 0, 0, 0, 2, 0, 0, 0, 0];
    bytes.extend(b"\x03web\x05local\0\0\x01\x80\x01\0\0\0\x78\0\x04\x0a\0\0\x01");
    // `1.in-addr.arpa PTR web.local`, the second half of each name elsewhere.
    bytes.extend(b"\x01x\xc0\x10\0\x0c\0\x01\0\0\0\x78\0\x02\xc0\x0c");
    let parsed = Message::parse(&bytes).unwrap();
    assert_eq!(parsed.answers[0], record(Data::A([10, 0, 0, 1].into())));
    assert_eq!(parsed.answers[1].name, name("x.local"));
    assert_eq!(parsed.answers[1].data, Data::Ptr(name("web.local")));
}

#[test]
fn pointers_in_circles_and_forward_are_refused() {
    for pointer in [b"\xc0\x0c", b"\xc0\x0e", b"\xc0\xff"] {
        let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(pointer);
        bytes.extend([0, 1, 0, 1]);
        assert_eq!(Message::parse(&bytes), Err(Malformed));
    }
    // Two that point at each other.
    let mut bytes = vec![0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0];
    bytes.extend(b"\x01a\xc0\x12\0\x01\0\x01\x01b\xc0\x0c\0\x01");
    assert_eq!(Message::parse(&bytes), Err(Malformed));
}

#[test]
fn types_that_a_name_does_not_have_are_denied() {
    let only = Data::only(name("web.local"), &[kind::A]);
    assert!(!only.denies(kind::A));
    assert!(only.denies(kind::AAAA) && only.denies(16) && only.denies(300));
    let both = Data::only(name("web.local"), &[kind::A, kind::AAAA]);
    assert!(!both.denies(kind::A) && !both.denies(kind::AAAA));
    assert!(Data::only(name("web.local"), &[]).denies(kind::A));
    assert!(!Data::A([1, 2, 3, 4].into()).denies(kind::A));
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
        }
    }

    #[test]
    fn a_message_with_a_wrong_byte_is_read_or_refused(at in 0_usize..200, byte in any::<u8>()) {
        let mut bytes = message().to_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
        }
    }
}

#[test]
fn the_seeds_of_the_fuzz_target_are_messages() {
    for seed in [
        &include_bytes!("../../../../fuzz/corpus/names/question")[..],
        include_bytes!("../../../../fuzz/corpus/names/response"),
        include_bytes!("../../../../fuzz/corpus/names/answer_of_a_server"),
    ] {
        let message = Message::parse(seed).unwrap();
        assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
    }
}
