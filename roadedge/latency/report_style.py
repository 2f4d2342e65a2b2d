"""The style sheet of the report: light and dark, a desk's screen, a phone's, and paper."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b2330; --soft: #5a6578; --line: #dfe4ec; --card: #fff; --back: #f3f5f9;
  --age: #2f5fd0; --bad: #c62f4b; --good: #1a7f4b; --warn: #a8520b; --shade: #edf0f5; --bar: #8a94a6;
  --a: #2f5fd0; --b: #e0772b; --c: #2a9a63; --d: #9a59c8; --e: #c8352f; --f: #6b7687;
  --late: #aab3c2; --queue: #cdd3dd; --rest: #dcc9b0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf1; --soft: #9aa6b8; --line: #2c3543; --card: #171d27;
  --back: #0f141c; --age: #7ba2ff; --bad: #ff6b83; --good: #2f9e66; --warn: #d98a3d; --shade: #1f2733; --bar: #6c778a;
  --a: #7ba2ff; --b: #f0a065; --c: #58c690; --d: #c493ea; --e: #ff7b72; --f: #97a3b6;
  --late: #5d687b; --queue: #465063; --rest: #75664f; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
  background: var(--back); margin: 0; }
main { max-width: 1100px; margin: 0 auto; padding: 26px 18px 60px; }
h1 { font-size: 23px; line-height: 1.3; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 10px; } h3 { font-size: 14px; margin: 14px 0 4px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 20px;
  margin: 14px 0; min-width: 0; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; margin: 14px 0; } .two section { margin: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 10px; margin: 14px 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px; }
.tile b { display: block; font-size: 21px; font-weight: 650; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tile span { color: var(--soft); font-size: 13px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 8px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
tr.headline td { font-weight: 650; border-top: 2px solid var(--ink); } tr.part td { color: var(--soft); }
tr.part td:first-child { padding-left: 24px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 16px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.soft { color: var(--soft); } p.soft { margin: 8px 0 0; font-size: 14px; }
.badge { display: inline-block; padding: 2px 12px; border-radius: 999px; color: #fff; font-weight: 650; }
.VALID { background: var(--good); } .INVALID { background: var(--warn); }
.facts { margin: 8px 0 0; } ul.rules { list-style: none; margin: 10px 0 0; padding: 0; }
ul.rules li { padding: 1px 0 1px 78px; position: relative; overflow-wrap: anywhere; }
ul.rules li::before { position: absolute; left: 0; font-size: 13px; line-height: 23px; }
li.failed { color: var(--warn); font-weight: 600; } li.failed::before { content: "failed"; }
li.warned::before { content: "warning"; color: var(--warn); } li.held::before { content: "holds"; color: var(--good); }
li.unseen { color: var(--soft); } li.unseen::before { content: "n/a"; }
pre { background: var(--shade); border-radius: 6px; padding: 8px 12px; overflow-x: auto; margin: 6px 0 0; }
code, pre { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
img { max-width: 100%; display: block; border-radius: 6px; } figure { margin: 0 0 12px; }
figcaption { color: var(--soft); font-size: 14px; margin-top: 3px; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--soft); }
svg text.strip { font-weight: 650; fill: var(--ink); }
svg .grid { stroke: var(--line); fill: none; } svg .shade { fill: var(--shade); }
svg .line { stroke: var(--age); stroke-width: 2; fill: none; stroke-linejoin: round; } svg .dot { fill: var(--age); }
svg .ages { stroke: var(--age); stroke-width: 2; stroke-linecap: round; fill: none; opacity: .38; }
svg .middle { stroke: var(--age); stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; fill: none; }
svg .few { stroke-width: 4; }
svg .limit { stroke: var(--bad); stroke-dasharray: 4 4; fill: none; }
svg .gap { fill: var(--bad); opacity: .16; } svg .throttle { fill: var(--warn); opacity: .16; }
svg .series { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.h-a { --hue: var(--a); } .h-b { --hue: var(--b); } .h-c { --hue: var(--c); } .h-d { --hue: var(--d); }
.h-e { --hue: var(--e); } .h-f { --hue: var(--f); } svg .series { stroke: var(--hue); } svg .drops { fill: var(--hue); }
svg .bar { fill: var(--bar); } svg .s-decode { fill: #4e79a7; } svg .s-heatmap { fill: #59a14f; }
svg .s-preprocess { fill: #76b7b2; } svg .s-infer { fill: #e15759; } svg .s-postprocess { fill: #b07aa1; }
svg .s-encode { fill: #edc948; } svg .s-late { fill: var(--late); } svg .s-in-queues { fill: var(--queue); }
svg .s-rest { fill: var(--rest); }
.narrow { display: none; }
@media (max-width: 760px) {
  main { padding: 14px 10px 40px; } section { padding: 12px 12px; } .two { grid-template-columns: minmax(0, 1fr); }
  .wide { display: none; } .narrow { display: block; } h1 { font-size: 20px; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; } dt { margin-top: 7px; font-size: 13px; }
  th, td { padding: 4px 4px; font-size: 12px; } tr.part td:first-child { padding-left: 12px; }
  .latency tr > :nth-child(2) { display: none; } .tile b { font-size: 18px; }
}
@media print { body { background: #fff; } section, .tile { break-inside: avoid; } }
"""
