//! Dictionaries: any text reads as something, and what was read survives being written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_protocol::{Dictionary, Emit};

fuzz_target!(|data: &[u8]| {
    let dictionary = Dictionary::parse(data);
    for (key, _) in dictionary.entries() {
        if let Ok(key) = std::str::from_utf8(key) {
            let _ = (
                dictionary.integer(key),
                dictionary.boolean(key),
                dictionary.text(key),
            );
        }
    }
    assert_eq!(Dictionary::parse(&dictionary.to_bytes()), dictionary);
});
