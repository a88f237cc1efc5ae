//! What a report must say, and that it says it without any network.

use super::*;
use crate::eval::run_metrics::Scored;
use crate::inspect::crop::CropPolicy;
use crate::inspect::recipe::{
    BackboneNote, EvidenceConstants, Input, Promise, SCHEMA, Standard, Teaching, ViewConstants,
};

fn recipe() -> Recipe {
    let standard = Standard { mean: 0.0, std: 1.0 };
    let normality = EvidenceConstants { image: standard, cell: standard, weight: 1.0 };
    let view = ViewConstants { normality, known: None, overall: None, sum: standard };
    Recipe {
        schema: SCHEMA,
        version: "0.1.0".into(),
        input: Input { height: 64, width: 64 },
        backbone: BackboneNote { name: "b".into(), digest: String::new(), features: vec![] },
        light: None,
        sight: None,
        registration: None,
        crop: CropPolicy::default(),
        constants: None,
        full: view,
        zoom: view,
        fused: standard,
        threshold: 3.0,
        promise: Promise { overkill_max: 0.0951, confidence: 0.95, held_out: 30, good_needed: 299, one_in: 100 },
        expected_escape: None,
        teaching: Teaching {
            date: "2026-01-01T00:00:00Z".into(),
            good: 100,
            bad: 4,
            seed: 0,
            digest: String::new(),
            adapted_from: None,
            suspects: vec![],
        },
        self_test: vec![],
    }
}

const NASTY: &str = "<b>kratzer</b> & \"co\"";

fn run() -> RunMetrics {
    let scored =
        |kind, label, score| Scored { kind, label, score, normality: score, full: score, zoom: None, is_seen: true };
    let goods = (0..100).map(|i| scored("good", Label::Good, if i == 0 { 3.5 } else { i as f32 / 50.0 }));
    let bads = (0..20).map(|i| scored(NASTY, Label::Bad, if i < 5 { 1.0 } else { 9.0 }));
    let dents = (0..20).map(|_| scored("dent", Label::Bad, 8.0));
    RunMetrics { seed: Some(0), ..RunMetrics::measure(&goods.chain(bads).chain(dents).collect::<Vec<_>>(), 3.0) }
}

fn facts<'a>(runs: &'a [RunMetrics], recipe: &'a Recipe) -> Facts<'a> {
    let file = "test/<img src=x onerror=alert(1)>/\"1\".png";
    let shown = Shown {
        file: file.into(),
        kind: NASTY.into(),
        score: 1.0,
        threshold: 3.0,
        jpeg: vec![0xFF, 0xD8, 0xFF, 0xD9],
        size: (640, 480),
    };
    Facts {
        title: "zoomgate: <tiles>".into(),
        runs,
        perturbed: None,
        recipe,
        has_own_threshold: false,
        good: (0..100).map(|i| i as f32 / 50.0).collect(),
        bad: vec![1.0, 9.0],
        missed: 1,
        misses: vec![shown],
        alarmed: 0,
        alarms: vec![],
    }
}

/// Everything that could make a browser ask a network or run something.
fn assert_self_contained(html: &str) {
    for word in ["http:", "https:", "//", "<script", "<link", "<iframe", "@import", "url(", "onerror=alert(1)>"] {
        let found = html.match_indices(word).find(|(at, _)| {
            // Base64 may hold slashes.
            let before = &html[..*at];
            before.rfind("base64,").is_none_or(|b| before[b..].contains('"'))
        });
        assert!(found.is_none(), "{word} in {:?}", found.map(|(at, _)| &html[at.saturating_sub(60)..at + 20]));
    }
    for (at, _) in html.match_indices("<img ") {
        assert!(html[at..].starts_with("<img src=\"data:image/jpeg;base64,"), "{}", &html[at..at + 60]);
        let tag = &html[at..at + html[at..].find('>').unwrap()];
        assert!(tag.contains(" alt=\"") && !tag.contains("alt=\"\""), "{tag}");
    }
    assert_eq!(html.matches("<svg").count(), html.matches("role=\"img\" aria-label=").count());
}

#[test]
fn a_page_asks_nothing_of_a_network_and_names_stay_text() {
    let (runs, recipe) = ([run()], recipe());
    let html = page::page(&facts(&runs, &recipe));
    assert_self_contained(&html);
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
    assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;/&quot;1&quot;.png"), "the file's name");
    assert!(html.contains("<h1>zoomgate: &lt;tiles&gt;</h1>"));
    assert!(html.contains("&lt;b&gt;kratzer&lt;/b&gt; &amp; &quot;co&quot;") && !html.contains("<b>"));
    assert_eq!((html.matches("<img ").count(), html.matches("<svg").count()), (1, 2));
    assert!(html.contains("width=device-width") && html.contains("prefers-color-scheme:dark"));
    for tag in ["table", "figure", "div", "p", "ol", "li", "svg", "thead", "tbody", "tr", "th", "td"] {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "<{tag}> is not closed");
    }
}

#[test]
fn the_three_sentences_and_the_tables_are_the_figures() {
    let (runs, recipe) = ([run()], recipe());
    let facts = facts(&runs, &recipe);
    let [caught, lost, promise] = facts.sentences();
    // 5 of 40 pass, 1 of 100 is rejected; Wilson's intervals.
    assert_eq!(
        caught,
        "Of 100 defective parts about 87 would be caught and 13 would pass (between 5.5 and 26 would pass, with 95 % \
         confidence, from 40 defective pictures tested)."
    );
    assert_eq!(
        lost,
        "Of 1,000 good parts about 10 would be rejected (between 1.8 and 54, with 95 % confidence, from 100 good \
         pictures tested)."
    );
    assert_eq!(
        promise,
        format!(
            "The recipe promises that at most 1 good part in 10 is rejected (95 % confidence, from 30 good pictures \
             held out); next: collect and teach more defective parts of the kind {NASTY}."
        )
    );
    let html = page::page(&facts);
    for figure in
        ["13 % <small>(5.5 to 26)</small>", "1 % <small>(0.2 to 5.4)</small>", "25 % <small>(11 to 47)</small>"]
    {
        assert!(html.contains(figure), "{figure} is missing in {html}");
    }
    assert!(html.contains("1 of 2 defective pictures pass.") && html.contains("0 of 100 good pictures are rejected."));
    let steps: Vec<String> = facts.next_steps().into_iter().map(|s| s.0).collect();
    // 30 of 100 are held out, so that 299 need 997 in all: 897 more.
    assert!(steps.contains(&"collect and teach about 900 more good parts".to_owned()), "{steps:?}");
    assert!(steps.contains(&"collect and teach 6 known defective parts".to_owned()), "{steps:?}");
}

#[test]
fn another_threshold_promises_nothing_and_a_test_without_defects_says_so() {
    let recipe = recipe();
    let goods: Vec<Scored<'_>> = (0..9)
        .map(|_| Scored {
            kind: "good",
            label: Label::Good,
            score: 0.0,
            normality: 0.0,
            full: 0.0,
            zoom: None,
            is_seen: true,
        })
        .collect();
    let runs = [RunMetrics::measure(&goods, 2.0)];
    let facts = Facts { has_own_threshold: true, bad: vec![], misses: vec![], missed: 0, ..facts(&runs, &recipe) };
    let [caught, lost, promise] = facts.sentences();
    assert!(caught.contains("not known") && lost.contains("about 0 would be rejected"), "{caught} {lost}");
    assert!(promise.contains("does not hold") && !promise.contains("at most 1 good part"), "{promise}");
    let html = page::page(&facts);
    assert_self_contained(&html);
    assert!(html.contains("for which it does not hold"));
}

#[test]
fn what_does_not_look_like_what_it_was_taught_as_comes_first() {
    let mut recipe = recipe();
    recipe.teaching.suspects = vec!["good/<i>7.png".into(), "bad/3.png".into()];
    let runs = [run()];
    let facts = facts(&runs, &recipe);
    assert!(facts.sentences()[2].ends_with("; next: look at good/<i>7.png and 1 more again, and teach again."));
    let html = page::page(&facts);
    assert!(html.contains("taught as: good/&lt;i&gt;7.png, bad/3.png.") && !html.contains("<i>"));
}

#[test]
fn several_runs_are_averaged_and_their_deviation_is_given() {
    let recipe = recipe();
    let second = RunMetrics { escape: Some(0.325), auroc_image: Some(0.5), ..run() };
    let runs = [run(), second];
    let rows = vec![Perturbed { perturbation: "JPEG 60".into(), auroc_image: Some(0.876), ..Perturbed::default() }];
    let facts = Facts { perturbed: Some(rows), ..facts(&runs, &recipe) };
    // (12.5 + 32.5) / 2 = 22.5 of 100, from the 40 pictures of one run and not from 80.
    assert!(facts.sentences()[0].contains("23 would pass"), "{:?}", facts.sentences());
    assert!(facts.sentences()[0].contains("40 defective pictures"));
    let html = page::page(&facts);
    assert!(html.contains("Mean of 2 runs") && html.contains("± "));
    assert!(html.contains("JPEG 60</th><td>0.876</td>"));
}

#[test]
fn a_place_that_cannot_be_written_is_refused_beforehand() {
    let dir = tempfile::tempdir().unwrap();
    assert!(check_place(&dir.path().join("report.html")).is_ok());
    assert!(check_place(Path::new("report.html")).is_ok());
    assert_eq!(check_place(dir.path()).unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(check_place(&dir.path().join("none/report.html")).unwrap_err().kind(), ErrorKind::NotFound);
}
