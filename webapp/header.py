"""What stands above every tab: the name, the question, and what to know while the demo model is active."""

_BANNER = """
<aside class="me-banner" aria-label="Demo model">
  <p><b>Demo judge:</b> trained on composed music and simulated raters.
    Use it to look around, not to report results.</p>
  <details><summary>How to get the real one</summary>
    <p>This version of MusicEval ships only the demo judge; a model trained on expert ratings has to come from
      elsewhere. If you have one as a folder (<code>config.json</code>, <code>metrics.json</code>,
      <code>model.safetensors</code> and its model card), name it when the app starts:
      <code>MUSICEVAL_MODEL=DIR make app</code>. This note then goes away.</p>
  </details>
</aside>
"""


def header() -> str:
    """Name the app and the question that it answers."""
    return (
        '<header class="me-header"><h1>MusicEval</h1>'
        "<p>How would experts rate this music, and does it fit its prompt?</p></header>"
    )


def banner() -> str:
    """Say that the demo model judges, and how to get a real one."""
    return _BANNER
