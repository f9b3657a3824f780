//! The few pages that a reader of a mail can meet. One frame, plain words, no script.

fn frame(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"robots\" content=\"noindex\"><title>{title}</title><style>\
         body{{font:17px/1.55 system-ui,sans-serif;margin:0;display:grid;place-items:center;\
         min-height:100vh;background:#f6f5f2;color:#22211f}}\
         main{{max-width:26rem;margin:1rem;padding:2.5rem;background:#fff;border-radius:14px;\
         box-shadow:0 1px 3px #0002}}h1{{font-size:1.35rem;margin:0 0 .6rem}}\
         button{{font:inherit;padding:.7rem 1.4rem;border:0;border-radius:8px;background:#22211f;\
         color:#fff;cursor:pointer}}button:focus-visible{{outline:3px solid #4a7dff}}\
         @media (prefers-color-scheme:dark){{body{{background:#191817;color:#eceae6}}\
         main{{background:#252321}}button{{background:#eceae6;color:#191817}}}}\
         </style></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub fn ask(name: &str) -> String {
    let body = format!(
        "<p>You will get no more letters from {}.</p>\
         <form method=\"post\"><button type=\"submit\">Unsubscribe</button></form>",
        escaped(name)
    );
    frame("Stop these letters?", &body)
}

pub fn done() -> String {
    frame("You are unsubscribed", "<p>No further letter will be sent to you.</p>")
}

pub fn gone() -> String {
    frame("This link leads nowhere", "<p>It may have been cut or changed on its way.</p>")
}

pub fn later() -> String {
    frame("Please try again", "<p>We could not do that just now. Try again in a minute.</p>")
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_escaped() {
        assert!(
            super::ask("<b>\"x\" & y</b>").contains("&lt;b&gt;&quot;x&quot; &amp; y&lt;/b&gt;")
        );
    }
}
