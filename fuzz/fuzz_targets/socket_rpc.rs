//! What programs and the service say to each other: requests, replies, accept records, names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_socket_rpc::{Accepted, MAX_MESSAGE, Name, Options, Reply, Request};

fuzz_target!(|data: &[u8]| {
    let mut out = [0; MAX_MESSAGE];
    if let Ok(request) = Request::parse(data) {
        let len = request.emit(&mut out);
        assert_eq!(Request::parse(&out[..len]), Ok(request));
        if let Request::SetOption(option) = request {
            let _ = Options::default().set(option.level, option.name, option.value.as_bytes());
        }
    }
    if let Ok(reply) = Reply::parse(data) {
        let len = reply.emit(&mut out);
        assert_eq!(Reply::parse(&out[..len]), Ok(reply));
    }
    if let Ok(record) = Accepted::parse(data) {
        assert_eq!(Accepted::parse(&record.emit()), Ok(record));
    }
    if let Some(name) = Name::from_path(data) {
        assert_eq!(name.to_path(), data);
    }
});
