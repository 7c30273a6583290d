//! Any bytes, read in pieces of any size: the stream is cut where its prefixes say, what is cut out
//! is what came in, and looking at it never panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mafalda_channel::{
    Decoder, check, encode_notification, encode_request, encode_response, messages,
};
use mafalda_channel::{notification, request, response, view};

/// Bytes a message may have: the fuzzer's inputs are small.
const MAX_MESSAGE: usize = 1 << 16;

fuzz_target!(|input: &[u8]| {
    let Some((&piece, stream)) = input.split_first() else {
        return;
    };
    let limit = usize::from(piece) * 16;
    let mut decoder = Decoder::new(MAX_MESSAGE);
    let mut forwarded = Vec::new();
    'stream: for read in stream.chunks(usize::from(piece).max(1)) {
        decoder.buffer_mut().extend_from_slice(read);
        loop {
            match decoder.next_batch(limit) {
                Ok(Some(batch)) => {
                    forwarded.extend_from_slice(&batch);
                    for message in messages(&batch) {
                        look(&message.expect("a batch is of whole messages"));
                    }
                }
                Ok(None) => break,
                Err(_) => break 'stream,
            }
        }
    }
    assert!(stream.starts_with(&forwarded));

    // Most inputs are no stream; as one message they get further.
    let size = (stream.len() as u32).to_le_bytes();
    look(&[&size, stream].concat());
});

fn look(message: &[u8]) {
    if let Ok(view) = view(message) {
        assert!(!format!("{view:?}").is_empty());
    }
    if check(message).is_ok() {
        assert!(view(message).is_ok());
    }
    if let Ok(decoded) = request(message) {
        let encoded = encode_request(&decoded);
        assert_eq!(
            encode_request(&request(&encoded).expect("our own")),
            encoded
        );
    }
    if let Ok(decoded) = response(message) {
        let encoded = encode_response(&decoded);
        assert_eq!(
            encode_response(&response(&encoded).expect("our own")),
            encoded
        );
    }
    if let Ok(decoded) = notification(message) {
        let encoded = encode_notification(&decoded);
        assert_eq!(
            encode_notification(&notification(&encoded).expect("our own")),
            encoded
        );
    }
}
