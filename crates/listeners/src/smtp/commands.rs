//! Reads one command line. Knows the grammar of RFC 5321, nothing of what was said before.

/// Longest address taken, in bytes (64 of local part, `@`, 255 of domain).
const ADDRESS_BYTES: usize = 320;

/// A command line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Ehlo(&'a str),
    Helo(&'a str),
    /// The return path (may be empty) and the announced size.
    Mail {
        return_path: &'a str,
        size_bytes: Option<u64>,
    },
    Rcpt(&'a str),
    Data,
    Rset,
    Noop,
    Quit,
    Vrfy,
    StartTls,
    /// Mechanism and, if given, the initial response.
    Auth(&'a str, Option<&'a str>),
}

/// Understands a line without its CRLF, or says what to answer.
pub(super) fn parse(line: &[u8]) -> Result<Command<'_>, &'static str> {
    let Ok(line) = std::str::from_utf8(line) else {
        return Err("500 5.5.2 not UTF-8\r\n");
    };
    if line.chars().any(|c| c.is_control()) {
        return Err("500 5.5.2 control character or bare line end in command\r\n");
    }
    let line = line.trim_end();
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim_start();
    let is = |name: &str| verb.eq_ignore_ascii_case(name);
    let alone = |command| if rest.is_empty() { Ok(command) } else { Err(NO_ARGUMENT) };
    if is("EHLO") || is("HELO") {
        let name = rest.split(' ').next().unwrap_or_default();
        return match name {
            "" => Err("501 5.5.4 name expected\r\n"),
            name if is("EHLO") => Ok(Command::Ehlo(name)),
            name => Ok(Command::Helo(name)),
        };
    }
    if is("MAIL") {
        return mail(rest);
    }
    if is("RCPT") {
        return rcpt(rest);
    }
    if is("AUTH") {
        let (mechanism, initial) = match rest.split_once(' ') {
            Some((mechanism, initial)) => (mechanism, Some(initial.trim())),
            None => (rest, None),
        };
        return Ok(Command::Auth(mechanism, initial));
    }
    match () {
        () if is("DATA") => alone(Command::Data),
        () if is("RSET") => alone(Command::Rset),
        () if is("QUIT") => alone(Command::Quit),
        () if is("STARTTLS") => alone(Command::StartTls),
        () if is("NOOP") => Ok(Command::Noop),
        () if is("VRFY") => Ok(Command::Vrfy),
        () => Err("500 5.5.1 unknown command\r\n"),
    }
}

const NO_ARGUMENT: &str = "501 5.5.4 no argument expected\r\n";
const UNKNOWN_PARAMETER: &str = "555 5.5.4 unknown parameter\r\n";

fn mail(rest: &str) -> Result<Command<'_>, &'static str> {
    const SYNTAX: &str = "501 5.1.7 expected MAIL FROM:<address>\r\n";
    let (return_path, parameters) = path(rest, "FROM:").ok_or(SYNTAX)?;
    let mut size_bytes = None;
    for parameter in parameters.split_ascii_whitespace() {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name.to_ascii_uppercase().as_str() {
            "SIZE" => size_bytes = Some(value.parse().map_err(|_| SYNTAX)?),
            "BODY" if matches!(value.to_ascii_uppercase().as_str(), "7BIT" | "8BITMIME") => {}
            "SMTPUTF8" | "AUTH" => {}
            _ => return Err(UNKNOWN_PARAMETER),
        }
    }
    Ok(Command::Mail { return_path, size_bytes })
}

fn rcpt(rest: &str) -> Result<Command<'_>, &'static str> {
    match path(rest, "TO:") {
        Some((_, parameters)) if !parameters.trim().is_empty() => Err(UNKNOWN_PARAMETER),
        Some((recipient, _)) if !recipient.is_empty() => Ok(Command::Rcpt(recipient)),
        _ => Err("501 5.1.3 expected RCPT TO:<address>\r\n"),
    }
}

/// The address of `FROM:<address> parameters` and the parameters. A source route is dropped, as
/// RFC 5321 (appendix C) asks.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let (head, tail) = rest.split_at_checked(keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let (inside, parameters) = tail.trim_start().strip_prefix('<')?.split_once('>')?;
    if !(parameters.is_empty() || parameters.starts_with(' ')) {
        return None;
    }
    let address = match inside.strip_prefix('@') {
        Some(route) => route.split_once(':')?.1,
        None => inside,
    };
    let odd = |c: char| c.is_whitespace() || c == '<';
    (address.len() <= ADDRESS_BYTES && !address.contains(odd)).then_some((address, parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(return_path: &str, size_bytes: Option<u64>) -> Result<Command<'_>, &'static str> {
        Ok(Command::Mail { return_path, size_bytes })
    }

    #[test]
    fn commands_are_understood() {
        for (line, expected) in [
            ("EHLO mail.example", Ok(Command::Ehlo("mail.example"))),
            ("ehlo [127.0.0.1] ", Ok(Command::Ehlo("[127.0.0.1]"))),
            ("HELO x", Ok(Command::Helo("x"))),
            ("MAIL FROM:<a@b.example>", mail("a@b.example", None)),
            ("mail from:<>", mail("", None)),
            ("MAIL FROM: <a@b> SIZE=12 BODY=8BITMIME SMTPUTF8", mail("a@b", Some(12))),
            ("MAIL FROM:<@relay.example:a@b>", mail("a@b", None)),
            ("RCPT TO:<jürgen@bücher.example>", Ok(Command::Rcpt("jürgen@bücher.example"))),
            ("RCPT TO:<postmaster>", Ok(Command::Rcpt("postmaster"))),
            ("DATA", Ok(Command::Data)),
            ("noop anything", Ok(Command::Noop)),
            ("AUTH PLAIN AGEAYg==", Ok(Command::Auth("PLAIN", Some("AGEAYg==")))),
            ("AUTH LOGIN", Ok(Command::Auth("LOGIN", None))),
            ("QUIT", Ok(Command::Quit)),
        ] {
            assert_eq!(parse(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn faulty_commands_are_refused_with_their_code() {
        let long = format!("RCPT TO:<{}@b.example>", "x".repeat(400));
        for (line, code) in [
            ("", "500"),
            ("GET / HTTP/1.1", "500"),
            ("EHLO", "501"),
            ("MAIL a@b", "501"),
            ("MAIL FROM:a@b", "501"),
            ("MAIL FROM:<a@b>x", "501"),
            ("MAIL FROM:<a@b> SIZE=ten", "501"),
            ("MAIL FROM:<a@b> RET=FULL", "555"),
            ("MAIL FROM:<a b@c>", "501"),
            ("RCPT TO:<>", "501"),
            ("RCPT TO:<a@b> NOTIFY=NEVER", "555"),
            ("RCPT TO:<a\nQUIT@b>", "500"),
            ("DATA now", "501"),
            (long.as_str(), "501"),
        ] {
            let refusal = parse(line.as_bytes()).expect_err(line);
            assert!(refusal.starts_with(code) && refusal.ends_with("\r\n"), "{line}: {refusal}");
        }
        assert!(parse(b"RCPT TO:<\xff@b>").is_err());
    }
}
