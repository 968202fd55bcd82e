// The result as a picture, drawn here: this browser has the fonts for the prompt's language.
const CARD = { width: 1200, height: 630, edge: 64 };

function wrapped(pen, text, width, most) {
  const lines = [""];
  for (const word of text.split(/(?<=\s)|(?=[\u3000-\u9fff])/)) {
    const longer = lines.at(-1) + word;
    if (pen.measureText(longer).width <= width || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  if (lines.length > most) lines[most - 1] = `${lines[most - 1].trimEnd()} …`;
  return lines.slice(0, most);
}

function drawWave(pen, shown, colour, top, height) {
  const path = new Path2D(shown.querySelector(".me-wave path").getAttribute("d"));
  const bins = Number(shown.querySelector(".me-wave").getAttribute("viewBox").split(" ")[2]);
  pen.save();
  pen.translate(CARD.edge, top + height / 2);
  pen.scale((CARD.width - 2 * CARD.edge) / bins, height / 2);
  pen.fillStyle = colour;
  pen.fill(path);
  pen.restore();
}

function saveCard(shown) {
  const canvas = Object.assign(document.createElement("canvas"), { width: CARD.width, height: CARD.height });
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(shown);
  const colour = (name) => style.getPropertyValue(name).trim();
  const write = (text, size, x, y, ink = "--me-ink", weight = 400) => {
    pen.font = `${weight} ${size}px ${style.fontFamily}`;
    pen.fillStyle = colour(ink);
    pen.fillText(text, x, y);
  };
  pen.fillStyle = colour("--me-surface");
  pen.fillRect(0, 0, CARD.width, CARD.height);
  const [name] = [...shown.querySelectorAll(".me-lead bdi")].map((part) => part.textContent);
  write("MusicEval", 26, CARD.edge, 80, "--me-accent", 700);
  write(wrapped(pen, name, 800, 1)[0], 26, CARD.edge + 170, 80, "--me-quiet");
  pen.font = `30px ${style.fontFamily}`;
  const prompt = shown.dataset.prompt.trim() || "Without a prompt";
  wrapped(pen, prompt, CARD.width - 2 * CARD.edge, 3).forEach((line, n) => write(line, 30, CARD.edge, 140 + 42 * n));
  drawWave(pen, shown, colour("--me-accent"), 270, 110);
  [...shown.querySelectorAll(".me-score")].slice(0, 3).forEach((score, n, all) => {
    const x = CARD.edge + (n * (CARD.width - 2 * CARD.edge)) / all.length;
    const width = (CARD.width - 2 * CARD.edge) / all.length - 24;
    write(score.querySelector("h3").textContent, 24, x, 430, "--me-quiet");
    write(score.querySelector(".me-value").textContent.trim().replace(/\s+/g, " "), 52, x, 490);
    pen.font = `20px ${style.fontFamily}`;
    const range = wrapped(pen, score.querySelector(".me-range").textContent.trim(), width, 2);
    range.forEach((line, m) => write(line, 20, x, 526 + 26 * m, "--me-quiet"));
  });
  const { judge, caveat } = shown.querySelector("[data-judge]").dataset;
  pen.font = `18px ${style.fontFamily}`;
  write(wrapped(pen, caveat ? `${judge}: ${caveat}` : judge, CARD.width - 2 * CARD.edge, 1)[0], 18, CARD.edge, 604, "--me-quiet");
  canvas.toBlob((blob) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob) });
    link.download = `${name.replace(/\.[^.]*$/, "")}.score.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
