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

/// Returns true if a text is a date as 31.12.2024, 12/31/2024 or 2024/12/31.
pub(crate) fn is_other_date(text: &str) -> bool {
    let day = text.split([' ', 'T']).next().unwrap_or_default();
    let separator = if day.contains('/') { '/' } else { '.' };
    let parts: Vec<&str> = day.split(separator).collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let is_whole = parts.iter().all(|part| !part.is_empty() && digits(part.as_bytes()));
    is_whole && matches!(lengths[..], [1..=2, 1..=2, 4] | [4, 1..=2, 1..=2])
}

fn digits(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}
