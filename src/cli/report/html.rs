//! HTML's own grammar: text that stays text, pictures inside the file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// `text` as text, also inside a quoted attribute: file names and kinds may hold anything.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // What HTML forbids even as a reference.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

/// An `<img>` that holds its JPEG.
pub fn img(jpeg: &[u8], (width, height): (u32, u32), alt: &str) -> String {
    let alt = escape(alt);
    let data = STANDARD.encode(jpeg);
    format!("<img src=\"data:image/jpeg;base64,{data}\" width=\"{width}\" height=\"{height}\" alt=\"{alt}\">")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_text_wherever_they_stand() {
        let name = "a<script>&\"b\"'c'\u{0}.png";
        assert_eq!(escape(name), "a&lt;script&gt;&amp;&quot;b&quot;&#39;c&#39;\u{FFFD}.png");
        assert_eq!(escape("Größe 3 %"), "Größe 3 %");
        let tag = img(&[0xFF, 0xD8, 0xFF], (2, 1), name);
        assert!(
            tag.starts_with("<img src=\"data:image/jpeg;base64,/9j/\" width=\"2\" height=\"1\" alt=\"a&lt;"),
            "{tag}"
        );
        assert_eq!(tag.matches(['<', '>']).count(), 2);
    }
}
