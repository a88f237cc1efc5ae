//! Parts of the method earn their place: what each is there for fails without it.
//!
//! Pseudo-anomalies have their test beside the head, `overall` beside its code.

#![cfg(feature = "teach")]

mod plates;

use plates::{good, spotted};
use zoomgate::eval::metrics::auroc;
use zoomgate::frame::Frame;
use zoomgate::inspect::Inspect as _;
use zoomgate::inspect::model::Model;
use zoomgate::nn::backbone::Backbone;
use zoomgate::sim::DefectKind;
use zoomgate::sim::render::{Scene, Want};
use zoomgate::train::ablation::Ablation;
use zoomgate::train::{Options, Picture, Silent, train};

fn taught(good: &[Frame], bad: &[Frame], ablation: Ablation) -> Model {
    taught_at(96, good, bad, ablation)
}

/// With a model input of `size` pixels.
fn taught_at(size: usize, good: &[Frame], bad: &[Frame], ablation: Ablation) -> Model {
    let pictures = |frames: &[Frame], kind: &str| -> Vec<Picture> {
        frames.iter().enumerate().map(|(i, f)| Picture::memory(f.clone(), format!("{kind}/{i}"))).collect()
    };
    let options = Options { size, prototypes: 32, steps: 60, ablation, ..Options::default() };
    let backbone = Backbone::bundled().unwrap();
    let taught = train(&pictures(good, "good"), &pictures(bad, "bad"), &backbone, &options, &Silent).unwrap();
    Model::from_bytes(&taught.bytes, "the recipe just taught").unwrap()
}

fn many(count: u64, from: u64, of: impl Fn(u64) -> Frame) -> Vec<Frame> {
    (from..from + count).map(of).collect()
}

/// How well a recipe tells 24 plates with such a spot from 24 good ones, none of them taught: image AUROC.
fn separates(model: &Model, radius: f32, depth: f32) -> f64 {
    let mut inspector = model.inspector().unwrap();
    let mut scores =
        |frames: Vec<Frame>| -> Vec<f32> { frames.iter().map(|f| inspector.inspect(f).unwrap().score.0).collect() };
    let goods = scores(many(24, 1000, good));
    auroc(&goods, &scores(many(24, 3000, |s| spotted(s, radius, depth)))).unwrap()
}

/// A lesson of 30 good plates and 6 with such a spot, without one ingredient or with all of them.
fn lesson(radius: f32, depth: f32, without: Option<&str>) -> Model {
    let all = Ablation::default();
    let ablation = without.map_or(all, |part| all.without(part).unwrap());
    taught(&many(30, 0, good), &many(6, 2000, |s| spotted(s, radius, depth)), ablation)
}

/// Wide and faint: less than the streaks vary.
const FAINT: (f32, f32) = (9.0, -12.0);

fn faint_without(part: &str) -> f64 {
    separates(&lesson(FAINT.0, FAINT.1, Some(part)), FAINT.0, FAINT.1)
}

#[test]
fn a_faint_defect_is_learnt_and_not_without_the_deviation_loss_or_cutmix_or_one_light() {
    let all = separates(&lesson(FAINT.0, FAINT.1, None), FAINT.0, FAINT.1);
    assert!(all > 0.95, "with everything {all}");
    for (part, least) in [("deviation", 0.05), ("cutmix", 0.02), ("light", 0.04)] {
        let rest = faint_without(part);
        assert!(rest < all - least, "without {part} {rest}, with everything {all}");
    }
}

#[test]
fn a_defect_of_two_pixels_takes_the_zoom() {
    let (radius, depth) = (1.5, -40.0);
    let model = lesson(radius, depth, None);
    let all = separates(&model, radius, depth);
    let rest = separates(&lesson(radius, depth, Some("zoom")), radius, depth);
    assert!(rest < all - 0.1, "without the zoom {rest}, with it {all}");
}

#[test]
fn a_zoom_that_knows_the_places_of_a_part_tells_more() {
    let scene = Scene::new(5, 640, 512, 0.0);
    let frame = |i: u64, want: Want| {
        let part = scene.render_part(i, want);
        Frame::still(part.width, part.height, part.rgb)
    };
    let defective = |i: u64| frame(i, Want::Defective(DefectKind::ALL[i as usize % DefectKind::ALL.len()]));
    let zoom_separates = |ablation: Ablation| -> f64 {
        let model = taught_at(224, &many(40, 0, |i| frame(i, Want::Good)), &[], ablation);
        assert_eq!(model.recipe().crop.lattice.is_some(), ablation.lattice);
        let mut inspector = model.inspector().unwrap();
        let mut scores = |frames: Vec<Frame>| -> Vec<f32> {
            frames.iter().map(|f| inspector.inspect(f).unwrap().score_zoom.unwrap().0).collect()
        };
        let goods = scores(many(20, 1000, |i| frame(i, Want::Good)));
        auroc(&goods, &scores(many(25, 2000, defective))).unwrap()
    };
    let all = zoom_separates(Ablation::default());
    let rest = zoom_separates(Ablation::default().without("chart").unwrap());
    assert!(all > 0.85 && rest < all - 0.1, "the zoom alone, with the chart {all}, without {rest}");
}
