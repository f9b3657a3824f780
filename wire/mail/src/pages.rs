//! The pages that customers meet. One frame, plain words, no script; they hold on a phone, with a
//! keyboard alone, and read aloud.

use tidings_engine::forms::{Faults, Filled, Input, Shown, ShownField, ShownTopic};
use tidings_engine::pages::Words;
use tidings_engine::preferences::Choice;

const STYLE: &str = "\
*{box-sizing:border-box}\
body{font:17px/1.55 system-ui,sans-serif;margin:0;display:grid;place-items:center;\
min-height:100vh;background:#f6f5f2;color:#22211f}\
main{width:calc(100% - 2rem);max-width:30rem;margin:1rem;padding:min(2.5rem,6vw);background:#fff;\
border-radius:14px;box-shadow:0 1px 3px #0002;overflow-wrap:anywhere}\
h1{font-size:1.35rem;line-height:1.3;margin:0 0 .6rem}p{margin:.6rem 0}\
fieldset{border:0;margin:1rem 0 0;padding:0}legend{font-weight:600;padding:0;margin-bottom:.3rem}\
.field{display:block;margin:1rem 0}.field>span{display:block;font-weight:600;margin-bottom:.25rem}\
.field input{font:inherit;width:100%;padding:.65rem .7rem;border:1px solid #8b8880;\
border-radius:8px;background:transparent;color:inherit}\
.tick{display:flex;gap:.7rem;align-items:flex-start;padding:.55rem 0;cursor:pointer}\
.tick input{width:1.25rem;height:1.25rem;margin:.15rem 0 0;flex:none}\
.tick b{display:block}small{color:#6a675f}.bad{color:#a3221b}.note{padding:.7rem .9rem;\
border-radius:8px;background:#e8f2e6;color:#1f4a1b}\
.row{display:flex;flex-wrap:wrap;gap:.7rem;margin-top:1.4rem}\
button,.go{font:inherit;padding:.7rem 1.4rem;border:1px solid #22211f;border-radius:8px;\
background:#22211f;color:#fff;cursor:pointer;text-decoration:none;display:inline-block}\
button.plain{background:transparent;color:inherit}a{color:inherit}\
button:focus-visible,a:focus-visible,input:focus-visible{outline:3px solid #4a7dff;\
outline-offset:2px}.trap{position:absolute;left:-9999px;width:1px;height:1px;overflow:hidden}\
@media (prefers-color-scheme:dark){body{background:#191817;color:#eceae6}\
main{background:#252321}button,.go{background:#eceae6;color:#191817;border-color:#eceae6}\
button.plain{background:transparent;color:inherit}small{color:#a9a69e}.bad{color:#ff9d94}\
.note{background:#1f3a1c;color:#d6f0d1}}";

fn frame(language: &str, title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"{}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"robots\" content=\"noindex\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>",
        escaped(language),
        title = escaped(title),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// A page of a title and one sentence.
fn said(words: &Words, title: &str, text: &str) -> String {
    let body = format!("<p>{}</p>", escaped(&words.get(text)));
    frame(&words.language, &words.get(title), &body)
}

/// Whether to unsubscribe, and the way to choose instead.
pub fn ask(words: &Words, preferences: &str) -> String {
    let body = format!(
        "<p>{}</p><form method=\"post\"><div class=\"row\"><button type=\"submit\">{}</button>\
         </div></form><p><a href=\"{preferences}\">{}</a></p>",
        escaped(&words.get("unsubscribe_text")),
        escaped(&words.get("unsubscribe")),
        escaped(&words.get("choose_instead")),
    );
    frame(&words.language, &words.get("unsubscribe_title"), &body)
}

pub fn unsubscribed(words: &Words) -> String {
    said(words, "unsubscribed_title", "unsubscribed_text")
}

pub fn gone(words: &Words) -> String {
    said(words, "gone_title", "gone_text")
}

pub fn later(words: &Words) -> String {
    said(words, "later_title", "later_text")
}

pub fn busy(words: &Words) -> String {
    said(words, "busy_title", "busy_text")
}

pub fn thanks(words: &Words) -> String {
    said(words, "thanks_title", "thanks_text")
}

pub fn expired(words: &Words) -> String {
    said(words, "expired_title", "expired_text")
}

/// Where to go on to is the form's owner's choice. A redirect would be stopped by the rule that
/// forms lead nowhere else, so the page itself goes on.
pub fn confirmed(words: &Words, next: Option<&str>) -> String {
    let next = match next {
        Some(url) => {
            let (url, title) = (escaped(url), escaped(&words.get("confirmed_title")));
            format!(
                "<meta http-equiv=\"refresh\" content=\"0;url={url}\">\
                 <p><a href=\"{url}\">{title} →</a></p>"
            )
        }
        None => String::new(),
    };
    let body = format!("<p>{}</p>{next}", escaped(&words.get("confirmed_text")));
    frame(&words.language, &words.get("confirmed_title"), &body)
}

/// What to confirm.
pub fn confirm(words: &Words, topics: &[ShownTopic]) -> String {
    let mut body = format!("<p>{}</p><ul>", escaped(&words.get("confirm_text")));
    for topic in topics {
        body.push_str(&format!(
            "<li><b>{}</b> <small>{}</small></li>",
            escaped(&topic.title),
            escaped(&topic.text)
        ));
    }
    body.push_str(&format!(
        "</ul><form method=\"post\"><button type=\"submit\">{}</button></form>",
        escaped(&words.get("confirm"))
    ));
    frame(&words.language, &words.get("confirm_title"), &body)
}

fn tick(name: &str, value: &str, title: &str, text: &str, is_ticked: bool) -> String {
    let text = match text {
        "" => String::new(),
        text => format!("<small>{}</small>", escaped(text)),
    };
    format!(
        "<label class=\"tick\"><input type=\"checkbox\" name=\"{}\" value=\"{}\"{}>\
         <span><b>{}</b>{text}</span></label>",
        escaped(name),
        escaped(value),
        if is_ticked { " checked" } else { "" },
        escaped(title),
    )
}

/// What someone gets, to be changed.
pub fn preferences(words: &Words, choices: &[Choice], is_saved: bool) -> String {
    let mut body = String::new();
    if is_saved {
        let saved = escaped(&words.get("saved"));
        body.push_str(&format!("<p class=\"note\" role=\"status\">{saved}</p>"));
    }
    body.push_str(&format!(
        "<form method=\"post\"><fieldset><legend>{}</legend>",
        escaped(&words.get("preferences_text"))
    ));
    for choice in choices {
        let version = choice.version.unwrap_or(0);
        body.push_str(&format!(
            "<input type=\"hidden\" name=\"shown\" value=\"{version}:{}\">{}",
            escaped(&choice.name),
            tick("topic", &choice.name, &choice.title, &choice.text, choice.is_chosen)
        ));
    }
    body.push_str(&format!(
        "</fieldset><div class=\"row\"><button type=\"submit\">{}</button>\
         <button type=\"submit\" class=\"plain\" name=\"all\" value=\"off\">{}</button></div>\
         </form>",
        escaped(&words.get("save")),
        escaped(&words.get("unsubscribe_all")),
    ));
    frame(&words.language, &words.get("preferences_title"), &body)
}

fn fault(words: &Words, faults: &Faults, name: &str) -> String {
    match faults.get(name) {
        Some(key) => format!("<small class=\"bad\">{}</small>", escaped(&words.get(key))),
        None => String::new(),
    }
}

fn field(words: &Words, one: &ShownField, filled: &Filled, faults: &Faults) -> String {
    let (to, label) = (one.field.to.as_str(), one.field.label.as_str());
    let value = filled.values.get(to).map(String::as_str).unwrap_or_default();
    let name = format!("f.{to}");
    let required = if one.field.required { " required" } else { "" };
    if one.input == Input::Tick {
        return tick(&name, "true", label, "", value == "true") + &fault(words, faults, to);
    }
    let kind = match one.input {
        Input::Number => "text\" inputmode=\"decimal",
        Input::Date => "date",
        Input::Phone => "tel\" autocomplete=\"tel",
        Input::Text | Input::Tick => "text",
    };
    let hint = match one.field.required {
        true => String::new(),
        false => format!(" <small>({})</small>", escaped(&words.get("optional"))),
    };
    format!(
        "<label class=\"field\"><span>{}{hint}</span><input type=\"{kind}\" name=\"{}\" \
         value=\"{}\" maxlength=\"1000\"{required}>{}</label>",
        escaped(label),
        escaped(&name),
        escaped(value),
        fault(words, faults, to),
    )
}

/// A sign-up form. `faults` is `None` where it is shown for the first time.
pub fn form(shown: &Shown, filled: &Filled, faults: Option<&Faults>, stamp: &str) -> String {
    let words = &shown.words;
    let definition = &shown.form.definition;
    let none = Faults::new();
    let mut body = String::new();
    if faults.is_some() {
        let text = escaped(&words.get("check_form"));
        body.push_str(&format!("<p class=\"bad\" role=\"alert\">{text}</p>"));
    }
    let faults = faults.unwrap_or(&none);
    if !definition.intro.is_empty() {
        body.push_str(&format!("<p>{}</p>", escaped(&definition.intro)));
    }
    body.push_str(&format!(
        "<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"stamp\" value=\"{}\">\
         <div class=\"trap\" aria-hidden=\"true\"><label>Website<input name=\"website\" \
         tabindex=\"-1\" autocomplete=\"off\"></label></div>\
         <label class=\"field\"><span>{}</span><input type=\"email\" name=\"email\" value=\"{}\" \
         autocomplete=\"email\" maxlength=\"320\" required>{}</label>",
        escaped(&shown.form.url),
        escaped(stamp),
        escaped(&words.get("email")),
        escaped(&filled.email),
        fault(words, faults, "email"),
    ));
    for one in &shown.fields {
        body.push_str(&field(words, one, filled, faults));
    }
    body.push_str(&topics(shown, filled, faults));
    body.push_str(&format!(
        "<div class=\"row\"><button type=\"submit\">{}</button></div></form>",
        escaped(&words.get("sign_up"))
    ));
    frame(&words.language, &definition.title, &body)
}

/// What can be chosen; one topic alone is told and not asked.
fn topics(shown: &Shown, filled: &Filled, faults: &Faults) -> String {
    if let [only] = shown.topics.as_slice() {
        return format!(
            "<p><b>{}</b> <small>{}</small></p>",
            escaped(&only.title),
            escaped(&only.text)
        );
    }
    let words = &shown.words;
    let mut html = format!("<fieldset><legend>{}</legend>", escaped(&words.get("topics")));
    for topic in &shown.topics {
        let is_ticked = filled.topics.contains(&topic.name);
        html.push_str(&tick("topic", &topic.name, &topic.title, &topic.text, is_ticked));
    }
    html + &fault(words, faults, "topics") + "</fieldset>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_people_and_colleagues_write_is_text() {
        let evil = "<b onclick='x'>\"&";
        let choice = Choice {
            name: evil.to_owned(),
            title: evil.to_owned(),
            text: evil.to_owned(),
            version: Some(1),
            is_chosen: true,
        };
        let page = preferences(&Words::plain(), &[choice], true);
        assert!(!page.contains("<b onclick") && !page.contains("'x'"), "{page}");
        assert!(page.contains("&lt;b onclick=&#39;x&#39;&gt;&quot;&amp;"));
    }
}
