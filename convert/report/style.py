"""The page's style sheet."""

STYLE = """
:root { --paper: #fbfaf7; --ink: #1f2328; --soft: #5b6570; --line: #d9d7d0; --card: #ffffff;
  --mark: #0b6e75; --other: #b4541a; --shade: #0b6e7522; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181b; --ink: #e6e8ea; --soft: #9aa5ae; --line: #30383e;
  --card: #1b2125; --mark: #56c2c9; --other: #f0a06a; --shade: #56c2c92b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0 0 .75rem; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .25rem; color: var(--other); }
p { margin: .35rem 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .6rem; margin: 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.tiles dt { color: var(--soft); font-size: .82rem; }
.tiles dd { margin: 0; font-size: 1.2rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
.columns { display: flex; flex-wrap: wrap; gap: .5rem 3rem; }
.wide { overflow-x: auto; max-width: 100%; }
.wide svg { min-width: 34rem; }
svg { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; font-size: .85rem; }
th:first-child, td:first-child, .worded td:last-child, .worded th:last-child { text-align: left; }
article { background: var(--card); border: 1px solid var(--line); border-left: .25rem solid var(--other);
  border-radius: .35rem; padding: .7rem .9rem; margin: .6rem 0; }
figure { margin: 0; }
figcaption { color: var(--soft); font-size: .88rem; margin: .2rem 0 0; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr)); gap: 1rem 1.5rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .4rem; align-content: start; }
.pair img { width: 100%; border-radius: .3rem; display: block; }
.pair figcaption { grid-column: 1 / -1; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: 1rem;
  margin-top: .6rem; }
.facts { display: grid; grid-template-columns: minmax(8rem, 14rem) 1fr; gap: .25rem 1rem; margin: .5rem 0; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
.grid { stroke: var(--line); } .stem { stroke: var(--line); stroke-width: 2; } .edge { stroke: var(--other); }
.bar { fill: var(--mark); } .range { fill: var(--shade); } circle.dot { fill: var(--mark); }
circle.ring { fill: var(--paper); stroke: var(--other); stroke-width: 1.5; }
.key { white-space: nowrap; margin-right: 1rem; color: var(--soft); }
.key i { display: inline-block; width: .65rem; height: .65rem; border-radius: 50%; margin-right: .25rem; }
.key .dot { background: var(--mark); } .key .ring { border: 2px solid var(--other); }
@media (max-width: 30rem) { body { padding: .8rem; } th, td { padding-right: .5rem; }
  .facts { grid-template-columns: 1fr; gap: 0; }
  .facts dd { margin-bottom: .5rem; } .tiles { grid-template-columns: 1fr 1fr; } .tiles dd { font-size: 1.05rem; } }
@media print { body { max-width: none; } section { break-inside: avoid; } }
"""
