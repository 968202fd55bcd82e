"""What stands above every tab: the name, the question, and what to know about the model that judges."""

from html import escape

from core.checkpoint import Checkpoint

_BANNER = """
<aside class="me-banner" aria-label="{label}">
  <p><b>{title}:</b> {caveat}.
    Use it to look around, not to report results.</p>
  <details><summary>How to get the real one</summary>
    <p>No model trained on expert ratings comes with MusicEval. Train one on the ratings of your study, or on
      the published ones, in the tab Training. Or if you have one as a folder (<code>config.json</code>,
      <code>metrics.json</code>, <code>model.safetensors</code> and its model card), name it when the app
      starts: <code>MUSICEVAL_MODEL=DIR make app</code>. This note then goes away.</p>
  </details>
</aside>
"""


def header() -> str:
    """Name the app and the question that it answers."""
    return (
        '<header class="me-header"><h1>MusicEval</h1>'
        "<p>How would experts rate this music, and does it fit its prompt?</p></header>"
    )


def banner(checkpoint: Checkpoint) -> str:
    """Say what was not real in what a model learned from, and how to get a real one; "" for a real one."""
    if not checkpoint.caveat:
        return ""
    label, title = ("Demo model", "Demo judge") if checkpoint.demo else ("About this model", "This judge")
    return _BANNER.format(label=label, title=title, caveat=escape(checkpoint.caveat))
