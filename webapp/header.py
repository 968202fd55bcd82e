"""What stands above every tab: the name, the question, and what to know while the demo model is active."""


def header() -> str:
    """Name the app and the question that it answers."""
    return (
        '<header class="me-header"><h1>MusicEval</h1>'
        "<p>How would experts rate this music, and does it fit its prompt?</p></header>"
    )


def banner() -> str:
    """Say that the demo model judges, and how to get a real one."""
    return (
        '<aside class="me-banner" aria-label="Demo model"><p><b>Demo judge:</b> trained on composed music and'
        " simulated raters. Use it to look around, not to report results.</p>"
        "<details><summary>How to get the real one</summary>"
        "<p>This version of MusicEval ships only the demo judge: no model trained on expert ratings is public. If"
        " you have one as a folder (<code>config.json</code>, <code>metrics.json</code>, <code>*.safetensors</code>"
        " and its model card), name it when starting the app: <code>MUSICEVAL_MODEL=DIR make app</code>. This note"
        " then goes away.</p></details></aside>"
    )
