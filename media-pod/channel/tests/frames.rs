//! The stream is cut at the messages, wherever the reads happened to end, and nothing else happens
//! to its bytes.

use bytes::{Bytes, BytesMut};
use mafalda_channel::{Decoder, FrameError, MAX_MESSAGE, PREFIX, messages};
use proptest::collection::vec;
use proptest::prelude::*;

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut message = (payload.len() as u32).to_le_bytes().to_vec();
    message.extend_from_slice(payload);
    message
}

fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 1..300), 0..20)
}

/// Lengths of reads; they are repeated until the stream is through.
fn reads() -> impl Strategy<Value = Vec<usize>> {
    vec(1usize..400, 1..20)
}

fn chunks<'a>(stream: &'a [u8], reads: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = stream;
    reads.iter().cycle().map_while(move |read| {
        let (chunk, left) = rest.split_at((*read).min(rest.len()));
        rest = left;
        (!chunk.is_empty()).then_some(chunk)
    })
}

proptest! {
    #[test]
    fn any_split_yields_the_same_messages(payloads in payloads(), reads in reads()) {
        let expected: Vec<Vec<u8>> = payloads.iter().map(|payload| framed(payload)).collect();
        let stream = expected.concat();
        let mut decoder = Decoder::new(MAX_MESSAGE);
        let mut got: Vec<Bytes> = Vec::new();
        for chunk in chunks(&stream, &reads) {
            decoder.push(chunk);
            while let Some(message) = decoder.next().unwrap() {
                got.push(message);
            }
        }
        prop_assert_eq!(decoder.pending(), 0);
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn batches_are_the_stream_itself(
        payloads in payloads(),
        reads in reads(),
        limit in 0usize..2000,
    ) {
        let expected: Vec<Vec<u8>> = payloads.iter().map(|payload| framed(payload)).collect();
        let stream = expected.concat();
        let mut decoder = Decoder::new(MAX_MESSAGE);
        let mut forwarded = Vec::new();
        let mut got: Vec<Bytes> = Vec::new();
        for chunk in chunks(&stream, &reads) {
            decoder.buffer_mut().extend_from_slice(chunk);
            while let Some(batch) = decoder.next_batch(limit).unwrap() {
                let parts: Vec<Bytes> = messages(&batch).collect::<Result<_, _>>().unwrap();
                prop_assert!(!parts.is_empty());
                prop_assert!(batch.len() <= limit || parts.len() == 1);
                forwarded.extend_from_slice(&batch);
                got.extend(parts);
            }
        }
        prop_assert_eq!(forwarded, stream);
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn garbage_ends_in_an_error_or_in_waiting(
        stream in vec(any::<u8>(), 0..2000),
        max in 0usize..500,
        limit in 0usize..500,
    ) {
        let mut decoder = Decoder::new(max);
        decoder.push(&stream);
        let mut forwarded = Vec::new();
        let end = loop {
            match decoder.next_batch(limit) {
                Ok(Some(batch)) => forwarded.extend_from_slice(&batch),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        prop_assert!(stream.starts_with(&forwarded));
        prop_assert_eq!(forwarded.len() + decoder.pending(), stream.len());
        if let Some(error) = end {
            prop_assert_eq!(decoder.next(), Err(error));
            prop_assert_eq!(decoder.next_batch(limit), Err(error));
        }
    }

    #[test]
    fn a_batch_that_ends_early_is_an_error(payloads in payloads(), cut in any::<prop::sample::Index>()) {
        let whole: Vec<Vec<u8>> = payloads.iter().map(|payload| framed(payload)).collect();
        let stream = whole.concat();
        prop_assume!(!stream.is_empty());
        let cut = cut.index(stream.len());
        let batch = Bytes::copy_from_slice(&stream[..cut]);
        let mut end = 0;
        let before = whole.iter().take_while(|message| { end += message.len(); end <= cut }).count();
        let clean = whole[..before].iter().map(Vec::len).sum::<usize>() == cut;
        let parts: Vec<_> = messages(&batch).collect();
        prop_assert_eq!(parts.len(), before + usize::from(!clean));
        for (part, message) in parts.iter().zip(&whole[..before]) {
            prop_assert_eq!(part.as_ref().unwrap(), message);
        }
        if !clean {
            let truncated = matches!(parts.last(), Some(Err(FrameError::Truncated { .. })));
            prop_assert!(truncated);
        }
    }
}

#[test]
fn messages_are_slices_of_what_was_read() {
    let stream = [framed(b"first"), framed(b"second"), framed(b"third")].concat();
    let mut decoder = Decoder::new(MAX_MESSAGE);
    decoder.buffer_mut().extend_from_slice(&stream);
    let read_at = decoder.buffer_mut().as_ptr();

    let first = decoder.next().unwrap().unwrap();
    let rest = decoder.next_batch(usize::MAX).unwrap().unwrap();
    assert_eq!(first.as_ptr(), read_at);
    assert_eq!(rest.as_ptr(), read_at.wrapping_add(first.len()));

    let parts: Vec<Bytes> = messages(&rest).collect::<Result<_, _>>().unwrap();
    assert_eq!(parts[0].as_ptr(), rest.as_ptr());
    assert_eq!(
        parts[1].as_ptr(),
        rest.as_ptr().wrapping_add(parts[0].len())
    );
}

#[test]
fn the_limit_is_the_largest_size_that_passes() {
    for (payload, fits) in [(96, true), (97, false)] {
        let mut decoder = Decoder::new(100);
        decoder.push(&framed(&vec![7; payload]));
        let got = decoder.next();
        assert_eq!(got.is_ok(), fits, "{payload} bytes: {got:?}");
    }
    let mut decoder = Decoder::new(100);
    decoder.push(&[97, 0, 0, 0]);
    assert_eq!(
        decoder.next(),
        Err(FrameError::TooLarge {
            size: 101,
            max: 100
        }),
        "refused before the rest of it comes"
    );
}

#[test]
fn an_empty_message_is_an_error() {
    let mut decoder = Decoder::new(MAX_MESSAGE);
    decoder.push(&[0; PREFIX]);
    assert_eq!(decoder.next(), Err(FrameError::Empty));
}

#[test]
fn what_came_before_a_wrong_size_is_yielded_first() {
    let good = framed(b"good");
    let mut decoder = Decoder::new(100);
    decoder.push(&[good.clone(), good.clone(), vec![255; 4]].concat());
    let batch = decoder.next_batch(usize::MAX).unwrap().unwrap();
    assert_eq!(batch, [good.clone(), good].concat());
    assert!(matches!(
        decoder.next_batch(usize::MAX),
        Err(FrameError::TooLarge { .. })
    ));
}

#[test]
fn a_claimed_size_takes_no_memory() {
    let mut decoder = Decoder::new(MAX_MESSAGE);
    decoder.push(&(MAX_MESSAGE as u32 - 4).to_le_bytes());
    assert_eq!(decoder.next(), Ok(None));
    assert!(decoder.buffer_mut().capacity() < 1 << 20);
}

#[test]
fn there_is_room_to_read_into_at_any_time() {
    let mut decoder = Decoder::new(MAX_MESSAGE);
    let stream = framed(&vec![1; 1 << 20]);
    for chunk in stream.chunks(50_000) {
        let buffer: &mut BytesMut = decoder.buffer_mut();
        assert!(buffer.capacity() - buffer.len() >= 4 * 1024);
        buffer.extend_from_slice(chunk);
    }
    assert_eq!(decoder.next().unwrap().unwrap(), stream);
}
