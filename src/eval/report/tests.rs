use super::*;
use crate::eval::item::Label;
use crate::eval::run_metrics::Scored;

fn scored(kind: &str, score: f32, zoom: Option<f32>) -> Scored<'_> {
    let label = if kind == "good" { Label::Good } else { Label::Bad };
    Scored { kind, label, score, normality: -score, full: 0.0, zoom, is_seen: true }
}

fn run(seed: u64, dent: f32) -> RunMetrics {
    let scores = [
        scored("good", 0.0, Some(0.0)),
        scored("good", 2.0, Some(2.0)),
        scored("dent", dent, Some(dent)),
        scored("stain", 3.0, Some(3.0)),
    ];
    RunMetrics {
        seed: Some(seed),
        known: Some(vec!["test/dent/1.png".into()]),
        good_train: Some(40),
        ..RunMetrics::measure(&scores, 2.0)
    }
}

#[test]
fn a_run_by_hand() {
    let run = run(7, 1.0);
    assert_eq!(run.auroc_image, Some(0.75));
    assert_eq!(run.auroc_normality, Some(0.25));
    assert_eq!(run.auroc_full, Some(0.5));
    assert_eq!(run.auroc_zoom, Some(0.75));
    assert_eq!((run.escape, run.overkill), (Some(0.5), Some(0.5)));
    assert_eq!((run.good_test, run.bad_test), (2, 2));
    assert_eq!(run.by_kind["dent"], KindMetrics { count: 1, auroc_image: Some(0.5), escape: Some(1.0) });
    // From the top: stain (1/1), good, dent (2/3).
    assert!((run.ap_image.unwrap() - 5.0 / 6.0).abs() < 1e-12);
}

#[test]
fn without_defects_or_zoom_figures_are_null_and_still_there() {
    let run = RunMetrics::measure(&[scored("good", 0.0, Some(0.0)), scored("good", 1.0, None)], 0.5);
    let json = serde_json::to_value(EvalReport::new(run)).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    for key in [
        "schema",
        "seed",
        "known",
        "auroc_image",
        "auroc_normality",
        "threshold",
        "good_train",
        "good_test",
        "bad_test",
        "ap_image",
        "auroc_pixel",
        "auroc_full",
        "auroc_zoom",
        "escape",
        "overkill",
        "by_kind",
        "teach_s",
        "perturbed",
    ] {
        assert!(keys.contains(&key), "{key} is absent");
    }
    for key in ["auroc_image", "ap_image", "auroc_zoom", "escape", "auroc_pixel", "teach_s", "seed", "known"] {
        assert!(json[key].is_null(), "{key} is {}", json[key]);
    }
    assert_eq!((&json["overkill"], &json["good_test"], &json["schema"]), (&0.5.into(), &2.into(), &1.into()));
}

#[test]
fn a_trial_has_means_and_deviations() {
    let mut second = run(1, 4.0);
    second.by_kind.remove("stain");
    second.auroc_pixel = Some(0.9);
    let json = serde_json::to_value(TrialReport::new(vec![run(0, 1.0), second])).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["seeds"][1]["seed"], 1);
    assert_eq!(json["seeds"][0]["known"][0], "test/dent/1.png");
    assert_eq!(json["seeds"][0]["good_train"], 40);
    assert_eq!(json["mean"]["auroc_image"], 0.875);
    assert!((json["std"]["auroc_image"].as_f64().unwrap() - 0.125 * 2f64.sqrt()).abs() < 1e-12);
    assert_eq!(json["mean"]["by_kind"]["dent"]["escape"], 0.5);
    // Figures of a single run: a mean, no deviation.
    assert_eq!((&json["mean"]["auroc_pixel"], &json["std"]["auroc_pixel"]), (&0.9.into(), &().into()));
    assert_eq!(json["mean"]["by_kind"]["stain"]["count"], 1.0);
    assert!(json["std"]["by_kind"]["stain"]["count"].is_null());
    assert!(json["mean"]["teach_s"].is_null());
}

#[test]
fn the_deviation_of_one_run_is_null() {
    let json = serde_json::to_value(TrialReport::new(vec![run(0, 1.0)])).unwrap();
    assert!(json["std"]["auroc_image"].is_null() && json["std"]["threshold"].is_null());
    assert_eq!(json["mean"]["auroc_image"], json["seeds"][0]["auroc_image"]);
}

#[test]
fn the_table_is_aligned_and_complete() {
    let text = TrialReport::new(vec![run(0, 1.0), run(1, 4.0)]).to_string();
    let lines: Vec<_> = text.lines().collect();
    let expected = [
        "        fused  normality   full   zoom     AP  pixel  escape  overkill  threshold  teach s",
        "seed 0  0.750      0.250  0.500  0.750  0.833      -   0.500     0.500       2.00        -",
        "seed 1  1.000      0.000  0.500  1.000  1.000      -   0.000     0.500       2.00        -",
        "mean    0.875      0.125  0.500  0.875  0.917      -   0.250     0.500       2.00        -",
        "std     0.177      0.177  0.000  0.177  0.118      -   0.354     0.000       0.00        -",
        "good pictures taught 40, tested 2; defective tested 2",
        "escape where 1 in 100 of these good pictures is rejected 0.250, by the full image alone 1.000; first crop holds the \
         defect -",
        "",
        "kind   tested  AUROC  escape",
        "dent        1  0.750   0.500",
        "stain       1  1.000   0.000",
    ];
    assert_eq!(lines[1..], expected);
}
