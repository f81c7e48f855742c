//! Origins: scheme, host and port, as a browser says them.

/// The origin of a web address, as a browser writes it; none for anything that has none.
pub(crate) fn origin_of(address: &str) -> Option<String> {
    let (scheme, rest) = address.trim().split_once("://")?;
    let (scheme, standard) = match scheme.to_ascii_lowercase().as_str() {
        "https" => ("https", ":443"),
        "http" => ("http", ":80"),
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    let authority = authority.strip_suffix(standard).unwrap_or(&authority);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let in_address = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => !address.is_empty() && address.chars().all(in_address),
        None => !host.is_empty() && host.chars().all(in_name),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    (is_host && is_port).then(|| format!("{scheme}://{authority}"))
}

/// An origin that stands alone, without a path.
pub(crate) fn bare_origin(text: &str) -> Option<String> {
    let text = text.trim();
    let origin = origin_of(text)?;
    let bare = text.strip_suffix('/').unwrap_or(text);
    let path = bare.split_once("://").is_none_or(|(_, rest)| rest.contains(['/', '?', '#', '\\']));
    (!path).then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_says() {
        for (address, want) in [
            ("https://www.Example.com/contact?x=1#y", Some("https://www.example.com")),
            ("https://example.com:443", Some("https://example.com")),
            ("http://example.com:8080/", Some("http://example.com:8080")),
            ("HTTP://[::1]:80/", Some("http://[::1]")),
            ("https://example.com\\@evil.example", Some("https://example.com")),
            ("https://user@example.com", None),
            ("https://exa mple.com", None),
            ("https://example.com:99999", None),
            ("//example.com", None),
            ("javascript://example.com", None),
            ("null", None),
            ("https://", None),
        ] {
            assert_eq!(origin_of(address).as_deref(), want, "{address}");
        }
    }

    #[test]
    fn a_bare_origin_has_no_path() {
        assert_eq!(bare_origin("https://example.com/").as_deref(), Some("https://example.com"));
        for text in ["https://example.com/contact", "https://example.com?x", "example.com", "*"] {
            assert_eq!(bare_origin(text), None, "{text}");
        }
    }
}
