// The headphone check (`annotation.session.headphones` says what it is and where it comes from): the page makes three
// tones, of which one is quieter, and one comes from both sides in opposite phase.

const CHECKS = 6;
const TONE_HZ = 200;
const TONE_S = 1;
const PAUSE_S = 0.5;
const RAMP_S = 0.1;
const LOUD = 0.5;
const QUIETER = 10 ** (-6 / 20);

// The six orders in which a plain, a quiet and an opposed tone can come, each once, at random.
function toneOrders() {
  const orders = [["plain", "quiet", "opposed"], ["plain", "opposed", "quiet"], ["quiet", "plain", "opposed"],
    ["quiet", "opposed", "plain"], ["opposed", "plain", "quiet"], ["opposed", "quiet", "plain"]];
  for (let last = orders.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    [orders[last], orders[other]] = [orders[other], orders[last]];
  }
  return orders;
}

function toneBuffer(context, order) {
  const rate_hz = context.sampleRate;
  const step = Math.round((TONE_S + PAUSE_S) * rate_hz);
  const buffer = context.createBuffer(2, step * order.length, rate_hz);
  const [left, right] = [0, 1].map((side) => buffer.getChannelData(side));
  order.forEach((kind, place) => {
    for (let n = 0; n < TONE_S * rate_hz; n++) {
      const ramp = Math.min(1, n / (RAMP_S * rate_hz), (TONE_S * rate_hz - n) / (RAMP_S * rate_hz));
      const sample = LOUD * ramp * Math.sin((2 * Math.PI * TONE_HZ * n) / rate_hz) * (kind === "quiet" ? QUIETER : 1);
      left[place * step + n] = sample;
      right[place * step + n] = kind === "opposed" ? -sample : sample;
    }
  });
  return buffer;
}

function showHeadphones(place, { orders = toneOrders(), correct = 0 } = {}) {
  const context = new AudioContext();
  const order = orders[0];
  const number = CHECKS - orders.length + 1;
  const trouble = make("p", { className: "me-reason", role: "status" }, say("phones.first"));
  const choose = async (kind) => {
    const right = correct + (kind === "quiet");
    if (orders.length > 1) return showHeadphones(place, { orders: orders.slice(1), correct: right });
    choices.forEach((choice) => (choice.disabled = true));
    const tell = (failure, wait_s) => countDown(wait_s, trouble, failure.message);
    try {
      const next = await insist(() => ask("headphones", { correct: right }), tell);
      return right >= CHECKS - 1 ? resume() : showHeadphonesFailed(next);
    } catch (failure) {
      return recover(failure);
    }
  };
  const choices = order.map((kind, index) => button(say("phones.tone", { number: index + 1 }), () => choose(kind)));
  choices.forEach((choice) => (choice.disabled = true));
  const play = primary(say("phones.play"), () => {
    const source = new AudioBufferSourceNode(context, { buffer: toneBuffer(context, order) });
    const gain = new GainNode(context, { gain: volume() });
    source.connect(gain).connect(context.destination);
    play.disabled = true;
    source.onended = () => {
      play.disabled = false;
      choices.forEach((choice) => (choice.disabled = false));
      trouble.replaceChildren(say("phones.which"));
    };
    context.resume().then(() => source.start());
  });
  show(makeCard(2, say("phones.title"), make("p", {}, say("phones.about")),
    make("p", {}, say("phones.of", { number, total: CHECKS })),
    make("div", { className: "me-row" }, play), make("div", { className: "me-row" }, ...choices), make("footer", {}, trouble)),
  { stop: () => context.close(), again: () => showHeadphones(place, { orders, correct }),
    key: (pressed) => (/^[1-3]$/.test(pressed) ? choices[pressed - 1] : play).click() });
}

function showHeadphonesFailed(place) {
  const again = primary(say("phones.again"), () => showHeadphones(place));
  const onward = place.headphones === "required" ? "" : button(say("phones.on"), () => resume());
  show(makeCard(2, say("phones.title"), make("p", {}, say("phones.failed")),
    make("p", {}, place.headphones === "required" ? say("phones.needed") : say("phones.may")),
    make("footer", {}, again, onward, leaveButton(say("leave")))), { again: () => showHeadphonesFailed(place) });
}
