//! The page itself: facts in, one HTML file out that asks nothing of any network.

use std::fmt::{self, Write as _};

use super::html::{escape, img};
use super::words::per_cent;
use super::{Facts, Shown, charts};
use crate::eval::metrics;
use crate::eval::run_metrics::RunMetrics;

/// Colours by the reader's own light or dark scheme; one column that fits a phone.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2126;--faint:#5c646d;--paper:#fff;--line:#d4d8dc;--good:#1f7a8c;--bad:#c2452d}\
@media(prefers-color-scheme:dark){:root{--ink:#e4e6e8;--faint:#9aa2ab;--paper:#17191c;--line:#3a3f45;--good:#58b4c7;--bad:#f0785a}}\
*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:62rem;background:var(--paper);color:var(--ink);\
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}h1{font-size:1.5rem;line-height:1.2}h2{font-size:1.2rem;margin-top:2rem}\
.verdict{font-size:1.15rem;border-left:4px solid var(--good);padding-left:1rem}small,.faint,figcaption{color:var(--faint)}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr));gap:1rem}figure{margin:0}\
svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--ink)}.grid{stroke:var(--line);fill:none}\
.chance{stroke:var(--faint);stroke-dasharray:4 4;fill:none}.curve{stroke:var(--good);stroke-width:2;fill:none}\
.mark{fill:var(--bad)}.limit{stroke:var(--ink);stroke-dasharray:5 3;fill:none}.good{fill:var(--good)}.bad{fill:var(--bad)}\
.wide{overflow-x:auto}table{border-collapse:collapse}th,td{padding:.3rem .8rem .3rem 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}\
th:first-child,td:first-child{text-align:left}.gallery{display:grid;gap:1.5rem}img{max-width:100%;height:auto}";

/// The whole page.
pub fn page(facts: &Facts<'_>) -> String {
    let mut out = String::new();
    write_page(&mut out, facts).expect("writing to a string never fails");
    out
}

fn write_page(out: &mut String, facts: &Facts<'_>) -> fmt::Result {
    let title = escape(&facts.title);
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body><main><h1>{title}</h1>\n<div class=\"verdict\">"
    )?;
    for sentence in facts.sentences() {
        write!(out, "<p>{}</p>", escape(&sentence))?;
    }
    writeln!(out, "</div>")?;
    write_figures(out, facts)?;
    let first = &facts.runs[0];
    let seed = if facts.runs.len() > 1 { " Of the first run." } else { "" };
    writeln!(
        out,
        "<h2>Curves</h2><div class=\"charts\"><figure>{}<figcaption>What is caught against what is lost, for every threshold; the dot is the threshold in use.{seed}</figcaption></figure>",
        charts::roc(&facts.good, &facts.bad, first.auroc_image, first.threshold)
    )?;
    writeln!(
        out,
        "<figure>{}<figcaption>Scores of good and of defective pictures, each to its own scale.{seed}</figcaption></figure></div>",
        charts::histogram(&facts.good, &facts.bad, first.threshold)
    )?;
    write_kinds(out, facts)?;
    write_perturbed(out, facts)?;
    let misses = format!("{} of {} defective pictures pass", facts.missed, facts.bad.len());
    write_gallery(out, "Worst misses", &misses, &facts.misses)?;
    let alarms = format!("{} of {} good pictures are rejected", facts.alarmed, facts.good.len());
    write_gallery(out, "Worst false alarms", &alarms, &facts.alarms)?;
    write_promise(out, facts)?;
    writeln!(out, "</main></body></html>")
}

fn three(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |v| format!("{v:.3}"))
}

fn write_figures(out: &mut String, facts: &Facts<'_>) -> fmt::Result {
    let over = |figure: fn(&RunMetrics) -> Option<f64>| {
        let values: Vec<f64> = facts.runs.iter().filter_map(figure).collect();
        let spread = metrics::std(&values).map_or_else(String::new, |s| format!(" <small>± {s:.3}</small>"));
        three(metrics::mean(&values)) + &spread
    };
    let rows = [
        ("defective parts that pass", per_cent(facts.escape())),
        ("good parts that are rejected", per_cent(facts.overkill())),
        ("AUROC: a defective picture scores above a good one", over(|r| r.auroc_image)),
        ("the same by normality alone", over(|r| r.auroc_normality)),
        ("average precision", over(|r| r.ap_image)),
        ("AUROC over pixels", over(|r| r.auroc_pixel)),
        ("rejected from a score of", over(|r| Some(r.threshold))),
    ];
    write!(out, "<h2>Figures</h2><div class=\"wide\"><table><tbody>")?;
    for (name, value) in rows {
        write!(out, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>")?;
    }
    let runs = match facts.runs.len() {
        1 => "One run.".to_owned(),
        n => format!("Mean of {n} runs, ± deviation over them."),
    };
    writeln!(
        out,
        "</tbody></table></div><p class=\"faint\">{runs} In brackets: 95 % confidence (Wilson), in per cent.</p>"
    )
}

fn write_kinds(out: &mut String, facts: &Facts<'_>) -> fmt::Result {
    let kinds = facts.kinds();
    if kinds.is_empty() {
        return Ok(());
    }
    write!(out, "<h2>Kinds of defect</h2><div class=\"wide\"><table><thead><tr>")?;
    for head in ["kind", "tested", "AUROC", "pass"] {
        write!(out, "<th scope=\"col\">{head}</th>")?;
    }
    write!(out, "</tr></thead><tbody>")?;
    for k in kinds {
        let (kind, auroc, escape) = (escape(&k.kind), three(k.auroc), per_cent(Some(k.escape)));
        let tested = k.escape.n.round();
        write!(out, "<tr><th scope=\"row\">{kind}</th><td>{tested}</td><td>{auroc}</td><td>{escape}</td></tr>")?;
    }
    writeln!(out, "</tbody></table></div>")
}

fn write_perturbed(out: &mut String, facts: &Facts<'_>) -> fmt::Result {
    let Some(rows) = &facts.perturbed else { return Ok(()) };
    write!(out, "<h2>Other light, place and focus</h2><div class=\"wide\"><table><thead><tr>")?;
    for head in ["pictures", "AUROC", "pass", "rejected", "crop overlaps"] {
        write!(out, "<th scope=\"col\">{head}</th>")?;
    }
    write!(out, "</tr></thead><tbody>")?;
    for r in rows {
        let name = escape(&r.perturbation);
        write!(out, "<tr><th scope=\"row\">{name}</th>")?;
        for value in [r.auroc_image, r.escape, r.overkill, r.crop_iou] {
            write!(out, "<td>{}</td>", three(value))?;
        }
        write!(out, "</tr>")?;
    }
    writeln!(
        out,
        "</tbody></table></div><p class=\"faint\">Shares, 0 to 1: defective pictures that pass, good ones that are rejected, and how far the zoom on a defective picture still looks at the same place.</p>"
    )
}

fn write_gallery(out: &mut String, title: &str, count: &str, shown: &[Shown]) -> fmt::Result {
    write!(out, "<h2>{title}</h2><p>{count}.</p><div class=\"gallery\">")?;
    for s in shown {
        let words = format!("{}: {}, score {:.2}, rejected from {:.2}", s.file, s.kind, s.score, s.threshold);
        let alt = format!("{words}; the whole picture with its heatmap and the crop box, and the crop enlarged");
        write!(out, "<figure>{}<figcaption>{}</figcaption></figure>", img(&s.jpeg, s.size, &alt), escape(&words))?;
    }
    writeln!(out, "</div>")
}

fn write_promise(out: &mut String, facts: &Facts<'_>) -> fmt::Result {
    let own =
        if facts.has_own_threshold { " This test used another threshold, for which it does not hold." } else { "" };
    writeln!(
        out,
        "<h2>The promise</h2><p>With the recipe’s threshold of {:.2}, {}, as long as good parts come like those that were held out.{own} Nothing is promised about defective parts: what passes can only be measured.</p>",
        facts.recipe.threshold,
        escape(&facts.promise())
    )?;
    write!(out, "<h2>What to collect next</h2>")?;
    let steps = facts.next_steps();
    if steps.is_empty() {
        write!(out, "<p>Nothing in these figures asks for more pictures.</p>")?;
    } else {
        write!(out, "<ol>")?;
        for (what, why) in steps {
            write!(out, "<li>{}: {}.</li>", escape(&what), escape(&why))?;
        }
        write!(out, "</ol>")?;
    }
    let t = &facts.recipe.teaching;
    writeln!(
        out,
        "<p class=\"faint\">Taught {} from {} good and {} defective pictures with seed {}, by zoomgate {}.</p>",
        escape(&t.date),
        t.good,
        t.bad,
        t.seed,
        escape(&facts.recipe.version)
    )
}
