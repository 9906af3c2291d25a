//! Dates, told from other texts.

/// Returns true if a text is a date, or a date and a time, as ISO 8601 writes them.
pub(crate) fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_day = bytes.len() >= 10
        && digits(&bytes[..4])
        && bytes[4] == b'-'
        && digits(&bytes[5..7])
        && bytes[7] == b'-'
        && digits(&bytes[8..10]);
    is_day && (bytes.len() == 10 || matches!(bytes[10], b'T' | b' '))
}

fn digits(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}
