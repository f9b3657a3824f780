//! The one text form of fields: TOML, written so that the same fields are always the same bytes, and
//! read with the line of every field.

mod read;
mod write;

pub use read::read;
pub use write::{can_hold, write};

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value as Json, json};

    use super::*;

    fn fields(value: Json) -> Map<String, Json> {
        value.as_object().expect("an object").clone()
    }

    #[track_caller]
    fn check(value: Json, text: &str) {
        let value = fields(value);
        assert_eq!(write(&value), text);
        assert_eq!(read(text).expect("what was written can be read").0, value);
    }

    #[test]
    fn fields_have_one_text() {
        check(
            json!({"name": "A \"b\"", "number": 3, "id": "x", "text": "one\ntwo"}),
            "id = \"x\"\nnumber = 3\nname = \"A \\\"b\\\"\"\ntext = \"\"\"\none\ntwo\"\"\"\n",
        );
        check(
            json!({"rule": {"all": [{"op": "eq", "value": 1.0, "attribute": "x"}], "z": {"gte": 1}}}),
            "[rule]\nall = [\n  { attribute = \"x\", op = \"eq\", value = 1.0 },\n]\nz = { gte = 1 }\n",
        );
        check(
            json!({"name": "t", "fields": [{"name": "a"}, {"name": "b", "list": ["x", "y"]}]}),
            "name = \"t\"\n\n[[fields]]\nname = \"a\"\n\n[[fields]]\nname = \"b\"\nlist = [\"x\", \"y\"]\n",
        );
        check(
            json!({"texts": {"en": {"title": "T"}, "a b": {}}, "empty": []}),
            "empty = []\n\n[texts]\n\n[texts.\"a b\"]\n\n[texts.en]\ntitle = \"T\"\n",
        );
    }

    #[test]
    fn every_text_comes_back() {
        for text in [
            "",
            "\n",
            "\"",
            "\"\"\"",
            "a\n\"\"\"\"\"\"\"",
            "\n\"",
            "\\",
            "\\\n\\",
            "\r\n",
            "\u{0}\u{7f}\u{85}\u{feff}\u{202e}x",
            "tab\tend\n\ttab",
            "日本 🙂 \u{301}",
            "  blanks  \n  ",
            "a\\\n   b",
        ] {
            for value in [json!({"x": text}), json!({"x": [{"y": {"z": text}}]}), json!({text: 1})]
            {
                let value = fields(value);
                let written = write(&value);
                assert_eq!(read(&written).expect(&written).0, value, "{written}");
            }
        }
    }

    #[test]
    fn numbers_come_back_as_they_were() {
        let all = json!({"x": [i64::MIN, i64::MAX, 0, -0.0, 1.0, 1e300, 1e-7, 0.1, 1e15, 1e16, 123456.5]});
        let written = write(&fields(all.clone()));
        assert_eq!(Json::Object(read(&written).expect("numbers").0).to_string(), all.to_string());
        assert!(!can_hold(&json!({"a": [u64::MAX]})));
        assert!(!can_hold(&json!([null])));
    }

    #[test]
    fn faults_and_fields_have_lines() {
        let text = "name = \"x\"\n\n[rule]\nall = [\n  { attribute = \"a\", op = \"eq\" },\n]\n";
        let lines = read(text).expect("fine").1;
        assert_eq!(lines.get("name"), Some(&1));
        assert_eq!(lines.get("rule"), Some(&3));
        assert_eq!(lines.get("rule.all[0].attribute"), Some(&5));
        for (text, line) in [("a = 1\nb = \n", 2), ("a = 1\na = 2\n", 2), ("a = nan", 1)] {
            assert_eq!(read(text).expect_err(text).line, Some(line), "{text}");
        }
    }
}
