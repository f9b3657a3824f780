//! Mails: how they are made, what relays say of them, and the links in them.

use mail_parser::MessageParser;
use tidings_channels::email::mime::{Mailbox, Message, Unsubscribe, build};
use tidings_channels::email::{
    Phase, Relay, ascii_domain, bounce_class, plain_text, reply, wire_address, without_credentials,
    write_body,
};
use tidings_domain::CustomerId;
use tidings_engine::links::{Link, LinkKeys, Purpose};
use tidings_engine::messages::{links_of, mjml, with_parameters, with_parameters_everywhere};

use super::{plain, text};
use crate::Target;
use crate::corpus::bytes;

pub fn targets() -> Vec<Target> {
    vec![
        Target { name: "mjml", short: 2_500, open: || plain(mjml_body), seeds: mjml_seeds },
        Target { name: "html", short: 8_000, open: || plain(html), seeds: html_seeds },
        Target { name: "mime", short: 6_000, open: || plain(mime), seeds: mime_seeds },
        Target { name: "smtp_replies", short: 12_000, open: || plain(replies), seeds: reply_seeds },
        Target { name: "relays", short: 8_000, open: || plain(relays), seeds: relay_seeds },
        Target { name: "tokens", short: 12_000, open: || plain(tokens), seeds: token_seeds },
    ]
}

fn mjml_body(input: &[u8]) {
    let source = text(input);
    if let Err(fault) = mjml::prepare(&source) {
        let (line, column) = fault.place(&source);
        assert!(line >= 1 && column >= 1);
    }
    if let Err(fault) = mjml::compile(&source) {
        fault.place(&source);
    }
}

fn mjml_seeds() -> Vec<Vec<u8>> {
    bytes(&[
        "<mjml><mj-body><mj-section><mj-column><mj-text>Hi {{ customer.name }}</mj-text>\
         </mj-column></mj-section></mj-body></mjml>",
        "{% assign x = 1 %}<mjml><mj-head><mj-title>T</mj-title><mj-attributes><mj-all color=\"#000\"/>\
         </mj-attributes><mj-style>p { margin: 0 }</mj-style></mj-head><mj-body width=\"500px\">\
         <mj-section><mj-column width=\"50%\"><mj-button href=\"https://a.example/?a=1&amp;b=2\">Go\
         </mj-button><mj-image src=\"x.png\" alt=\"x\"/><mj-divider/></mj-column></mj-section></mj-body></mjml>",
        "<mjml><mj-body>{% for i in list %}<mj-section><mj-column><mj-table><tr><td>{{ i }}</td></tr>\
         </mj-table></mj-column></mj-section>{% endfor %}</mj-body></mjml>",
        "<mjml><mj-body><mj-wrapper><mj-hero><mj-text mj-class=\"a\">x</mj-text></mj-hero></mj-wrapper>\
         <mj-raw><!-- c --></mj-raw><mj-include path=\"/etc/passwd\"/></mj-body></mjml>",
    ])
}

/// Links are found, changed and made into text; what is written is never shorter of links.
fn html(input: &[u8]) {
    let source = text(input);
    let links = links_of(&source);
    let parameters = [("utm_source".to_owned(), "a b&c".to_owned())];
    for link in &links {
        let once = with_parameters(link, &parameters).into_owned();
        assert_eq!(with_parameters(&once, &parameters), once, "added once");
    }
    let changed = with_parameters_everywhere(&source, &parameters);
    assert!(links_of(&changed).len() <= links.len(), "no link is added");
    let shown = plain_text(&source);
    assert!(!shown.contains('\0') || source.contains('\0'));
}

fn html_seeds() -> Vec<Vec<u8>> {
    bytes(&[
        "<html><head><style>a{}</style></head><body><p>Hi&nbsp;<b>Ann</b><br>x</p>\
         <a href=\"https://shop.example/?a=1&amp;b=2#top\">look</a><img src=x alt='y'></body></html>",
        "<a href='http://a.example'>one</a><a HREF=https://b.example/x>two</a><a href=\"mailto:a@b.c\">m</a>",
        "<ul><li>1<li>2</ul><table><tr><td>a<td>b</table><!-- <a href=\"https://no.example\"> -->",
        "<script>if (a < b) { '</scr' }</script><pre> a\n  b </pre>&lt;&#x1F600;&#0;&bogus;&amp",
        "<a href=\"https://a.example/{{ x }}\">{% if y %}z{% endif %}</a>",
    ])
}

/// The parts of a mail in one text, a line each: name, address, subject, text, HTML. A mail that is
/// built is one that a strict reader reads, with these parts and no others.
fn mime(input: &[u8]) {
    let source = text(input);
    let mut parts = source.split('\u{1e}');
    let mut next = || parts.next().unwrap_or_default();
    let (name, address, subject, header) = (next(), next(), next(), next());
    let (plain, html) = (next(), next());
    let message = Message {
        from: Mailbox { name: Some(name), address: "shop@shop.example" },
        to: Mailbox { name: None, address },
        reply_to: None,
        subject,
        html: Some(html),
        text: (!plain.is_empty()).then_some(plain),
        message_id: "id.1@shop.example",
        date_s: 1_768_471_200,
        unsubscribe: Some(Unsubscribe { https: "https://hub.example/t/u/x", mail: None }),
        headers: &[("X-Campaign", header)],
    };
    let _ = (ascii_domain(address), wire_address(address));
    let Ok(mail) = build(&message) else { return };
    for (at, line) in mail.split(|byte| *byte == b'\n').enumerate() {
        assert!(line.len() <= 999, "line {at} has {} bytes", line.len());
        assert!(!line[..line.len().saturating_sub(1)].contains(&b'\r'), "a bare CR in line {at}");
        assert!(!line.contains(&0), "a NUL in line {at}");
    }
    let head = mail.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&mail[..head]);
    for name in ["from:", "to:", "subject:", "message-id:", "x-campaign:", "bcc:"] {
        let lines = head.lines().filter(|line| line.to_ascii_lowercase().starts_with(name));
        let expected = usize::from(name != "bcc:");
        assert!(lines.count() <= expected, "{name} in\n{head}");
    }
    let read = MessageParser::default().parse(&mail).expect("a mail is read");
    assert_eq!(read.message_id(), Some("id.1@shop.example"));
    // What would be taken for an encoded word is written so that it is none.
    let words =
        |text: &str| text.replace("=?", "= ?").split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(read.subject().unwrap_or_default()), words(subject), "{head}");
    let mut sent = Vec::new();
    write_body(&mail, &mut sent);
    let end = sent.windows(5).position(|five| five == b"\r\n.\r\n").expect("an end");
    assert_eq!(end + 5, sent.len(), "the first end is the last");
}

fn mime_seeds() -> Vec<Vec<u8>> {
    bytes(&[
        "Shop\u{1e}ann@example.com\u{1e}Hello\u{1e}1\u{1e}Hi\n.\nx\u{1e}<p>Hi</p>",
        "Zo\u{eb}, \"the\" Shop\u{1e}ann@b\u{fc}cher.example\u{1e}\u{1f600} gr\u{fc}\u{df}e\u{1e}a b\u{1e}\u{1e}<p>\u{5c71}</p>",
        "a\u{1e}a@b.example\u{1e}a very long subject that goes on and on until it has to be folded, \
         because a line of a head must not be longer than this\u{1e}x\u{1e}t\u{1e}<a href='x'>y</a>",
        "x\r\nBcc: all@example.com\u{1e}a@b.example\u{1e}s\r\n\r\nbody\u{1e}=?utf-8?q?x?=\u{1e}\u{1e}\u{1e}",
    ])
}

/// A reply is read when it is whole, as much of it as it is, and judged whatever it says.
fn replies(input: &[u8]) {
    if let Ok(Some((found, used))) = reply::parse(input) {
        assert!(used <= input.len() && (200..600).contains(&found.code));
        assert_eq!(reply::parse(&input[..used]), Ok(Some((found.clone(), used))));
        for cut in 0..used.min(64) {
            assert!(!matches!(reply::parse(&input[..cut]), Ok(Some(_))), "half a reply is none");
        }
        let line = found.one_line();
        assert!(!line.contains(['\r', '\n']) && line.chars().count() <= 1_000);
        for phase in [Phase::Mail, Phase::Recipient, Phase::Data] {
            bounce_class(found.code, found.enhanced(), phase, &line);
        }
    }
}

fn reply_seeds() -> Vec<Vec<u8>> {
    bytes(&[
        "250 OK\r\n",
        "250-mail.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 STARTTLS\r\n",
        "550 5.1.1 no such user\r\n",
        "550-5.7.1 blocked\r\n550 5.7.1 see https://x.example\r\n",
        "421 4.3.2 closing\n",
        "220 ready\r\n250 two\r\n",
        "552-5.2.2 full\r\n552 x\r\n",
        "451\r\n",
    ])
}

fn relays(input: &[u8]) {
    let url = text(input);
    let secret = url.split("//").nth(1).and_then(|rest| rest.split('@').next()?.split(':').nth(1));
    match Relay::parse(&url, 4) {
        Ok(relay) => {
            let shown = format!("{relay:?}");
            if let Some(secret) = secret.filter(|secret| secret.len() > 12) {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok((bare, Some(_))) = without_credentials(&url) {
        assert!(!bare.contains('@'), "{bare}");
    }
}

fn relay_seeds() -> Vec<Vec<u8>> {
    bytes(&[
        "smtp://127.0.0.1:1025",
        "smtps://user:a-long-password@mail.example:465?max=8",
        "smtp+starttls://us%40er:p%3Ass%2Fword-long@mail.example",
        "smtp://[::1]:25?tls=off",
        "smtp+starttls://mail.example:587?ca=/etc/ca.pem&timeout=5",
    ])
}

fn keys() -> LinkKeys {
    LinkKeys::new(&[7; 32])
}

fn known_links() -> Vec<Link> {
    let purposes = [
        Purpose::Open,
        Purpose::Click(3),
        Purpose::ClickTo("https://a.example/x?y=1".into()),
        Purpose::Unsubscribe,
    ];
    let customer = CustomerId(uuid::Uuid::from_u128(0x0123_4567_89ab_cdef));
    let link = |purpose| Link { workspace: 1, campaign: 2, customer, purpose };
    purposes.into_iter().map(link).collect()
}

/// Only what was signed is read: whatever else is read was never written by these keys.
fn tokens(input: &[u8]) {
    let token = text(input);
    if let Some(link) = keys().read(&token) {
        assert!(known_links().contains(&link), "{link:?} was never signed");
        assert_eq!(keys().token(&link), token, "one link has one token");
    }
    if let Some(found) = keys().read_return_path(&token) {
        let known = &known_links()[0];
        assert_eq!(found, (known.workspace, known.campaign, known.customer), "never signed");
    }
    assert_eq!(keys().unsign("another purpose", &token), None);
    if let Some(body) = keys().unsign("form stamp", &token) {
        assert_eq!(body, b"a body", "never signed");
    }
}

fn token_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        known_links().iter().map(|link| keys().token(link).into_bytes()).collect();
    let known = &known_links()[0];
    let path = keys().return_path(known.workspace, known.campaign, known.customer);
    seeds.push(path.into_bytes());
    seeds.push(keys().sign("form stamp", b"a body").into_bytes());
    seeds
}
