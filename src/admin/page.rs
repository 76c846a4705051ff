//! The status page: one self-contained document, the same for all clients. It is empty until its script has queried
//! `/api`, so names from the configuration or from clients are never part of the markup.
//!
//! Style and script are inline, and the Content-Security-Policy allows only these two, by their hashes. The page
//! therefore loads nothing from other places and connects only to its own origin.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const DOCUMENT: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The complete document.
pub(super) static PAGE: LazyLock<String> =
    LazyLock::new(|| DOCUMENT.replace("{style}", STYLE).replace("{script}", SCRIPT));

/// The Content-Security-Policy of the page.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())));
    format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; form-action 'none'; \
         base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_self_contained() {
        assert_eq!((PAGE.matches("<style>").count(), PAGE.matches("<script>").count()), (1, 1));
        assert_eq!((PAGE.matches("</style>").count(), PAGE.matches("</script>").count()), (1, 1));
        assert!(PAGE.contains(&format!("<style>{STYLE}</style>")));
        assert!(PAGE.contains(&format!("<script>{SCRIPT}</script>")));
        for foreign in [" src=", "@import", "url(", " style=", " onclick="] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
        let addresses: Vec<_> = PAGE.split("://").skip(1).map(|rest| &rest[..18]).collect();
        assert!(addresses.iter().all(|rest| rest.starts_with("www.w3.org/2000/sv")), "{addresses:?}");
    }

    #[test]
    fn the_script_never_writes_markup() {
        for dangerous in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
        {
            assert!(!SCRIPT.contains(dangerous), "{dangerous}");
        }
    }
}
