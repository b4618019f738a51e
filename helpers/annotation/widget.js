// Label patterns by key, and draw the box of the positives. Plain JavaScript as shipped, loaded after box_drawing.js:
// there is no build step, and nothing is fetched from the network. The messages are described in session.py.

const PATIENCE = 2000; // without an answer for this long, changes are shown as not saved [ms]
const AT_WORK = 60000; // for this long after a key or a click, the kernel is checked to be alive [ms]
const AHEAD = 96; // pictures kept ready for the next keys
const BEHIND = 16; // pictures kept ready for going back
const BATCH = 16; // pictures in one request
const REQUESTS = 2; // requests in progress at a time

const NAMES = { s: "single", n: "not single", u: "unsure" };
const NOTHING = "-";
const CHANGES = ["label", "box", "undo"]; // messages that change the file

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

async function inflated(buffer) {
  const stream = new Blob([buffer]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Picture with one canvas pixel for each detector pixel, coloured by a table.
function picture(rows, columns, tables) {
  const canvas = element("canvas", "annotation-canvas");
  [canvas.width, canvas.height] = [columns, rows];
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  image.data.fill(255);
  return {
    canvas,
    paint(levels, colour, scale) {
      const table = tables[colour];
      const plane = scale === "log" ? rows * columns : 0;
      for (let pixel = 0; pixel < rows * columns; pixel += 1) {
        const level = 3 * levels[plane + pixel];
        for (let layer = 0; layer < 3; layer += 1) image.data[4 * pixel + layer] = table[level + layer];
      }
      context.putImageData(image, 0, 0);
    },
    clear: () => context.clearRect(0, 0, columns, rows),
  };
}

// Messages that have been sent and not answered yet. If an answer is late, the page says so.
function mailbox(model, view, changed) {
  const waiting = new Map(); // revision → { kind, at }
  let revision = 0;
  let answered = performance.now();
  return {
    send(kind, content = {}) {
      revision += 1;
      waiting.set(revision, { kind, at: performance.now() });
      try {
        model.send({ ...content, kind, view, revision });
      } catch (error) {
        console.warn("annotation:", error); // a dead kernel: the missing answer will soon be noticed
      }
      changed();
      return revision;
    },
    // Kind of the message that is answered; undefined if another view has sent it.
    settle(message) {
      if (message.view !== view) return undefined;
      answered = performance.now();
      const sent = waiting.get(message.revision);
      waiting.delete(message.revision);
      return sent?.kind;
    },
    waiting: (...kinds) => [...waiting.values()].filter(({ kind }) => kinds.includes(kind)).length,
    late: () => [...waiting.values()].some(({ at }) => performance.now() - at > PATIENCE),
    idle: () => waiting.size === 0 && performance.now() - answered > PATIENCE,
  };
}

function render({ model, el }) {
  const [rows, columns] = model.get("shape");
  const positions = model.get("positions");
  const fileName = model.get("file_name");
  const view = Math.random().toString(36).slice(2);

  let labels = []; // one letter for each position
  let position = 0;
  let box = { edges: null, proposal: null, drawn: false, share: null };
  let mode = "label"; // or "box"
  let colour = "jet";
  let scale = "log";
  let onSum = true; // in box mode: shows the sum of the positives, or else the pattern
  let sum = null; // { levels, positives }
  let onScreen = null; // { position, pattern, since } of the picture that the user can see
  let paints = 0;
  let started = false;
  const frames = new Map(); // position → { pattern, photons, brightest, size_nm, levels }
  const asked = new Set();

  const root = element("div", "annotation");
  root.tabIndex = 0;
  root.setAttribute("role", "application");
  root.setAttribute("aria-label", "Annotation. Keys: S single hit, N not single, U unsure, B draw the box");
  // without this, JupyterLab takes keys typed here as its own commands and may delete cells
  root.setAttribute("data-lm-suppress-shortcuts", "true");

  const alarm = element("div", "annotation-alarm");
  alarm.setAttribute("role", "alert");
  const shown = picture(rows, columns, model.get("colour_tables"));
  const layer = boxLayer([rows, columns], { changed: update, commit: commitBox });
  const frame = element("div", "annotation-picture");
  const caption = element("div", "annotation-caption");
  frame.append(shown.canvas, layer.svg, caption);
  const facts = element("div", "annotation-facts");
  const bar = element("progress", "annotation-bar");
  bar.max = positions;
  const counts = element("div", "annotation-counts");
  const side = element("div", "annotation-side");
  side.append(facts, bar, counts);
  const body = element("div", "annotation-body");
  body.append(frame, side);
  const buttons = element("div", "annotation-buttons");
  const status = element("div", "annotation-status");
  status.setAttribute("aria-live", "polite");
  const help = element("div", "annotation-help");
  root.append(alarm, body, buttons, status, help);
  el.append(root);

  const mail = mailbox(model, view, update);

  // ---- display

  const isSum = () => mode === "box" && onSum && sum !== null && sum.positives > 0;

  function paint() {
    paints += 1;
    const now = paints;
    const at = isSum() ? { ...sum, pattern: null } : frames.get(position);
    onScreen = null;
    if (at?.levels) {
      shown.paint(at.levels, colour, scale);
      const seen = { position: isSum() ? null : position, pattern: at.pattern, since: 0 };
      // a key that is pressed before the browser shows the picture is not meant for it
      requestAnimationFrame(() => {
        if (now === paints) onScreen = { ...seen, since: performance.now() };
        root.dataset.pattern = onScreen?.pattern ?? "";
      });
    } else shown.clear();
    root.dataset.pattern = "";
    update();
  }

  function fact(name, value) {
    facts.append(element("span", "annotation-name", name), element("span", "annotation-value", value));
  }

  function showFacts() {
    facts.replaceChildren();
    const whole = (number) => Math.round(number).toLocaleString("en").replaceAll(",", "\u202f");
    if (isSum()) {
      fact("picture", "sum of the positives");
      fact("positives", whole(sum.positives));
    } else {
      const at = frames.get(position);
      fact("pattern", `${whole(position + 1)} of ${whole(positions)}`);
      fact("photons", at ? whole(at.photons) : "…");
      fact("brightest pixel", at ? whole(at.brightest) : "…");
      if (at && at.size_nm !== null) fact("size", `${at.size_nm.toFixed(1)} nm`);
      fact("label", NAMES[labels[position]] ?? "none yet");
    }
    if (mode === "box") {
      const edges = layer.edges();
      fact("rows", edges ? `${edges[0]} to ${edges[1]}` : "no box");
      fact("columns", edges ? `${edges[2]} to ${edges[3]}` : "no box");
      const settled = edges && box.share !== null && String(edges) === String(box.edges);
      fact("photons inside", settled ? `${(100 * box.share).toFixed(1)} %` : "…");
      fact("box", box.drawn ? "drawn by you" : "proposed");
    }
  }

  function showProgress() {
    const number = (letter) => labels.filter((given) => given === letter).length;
    const left = number(NOTHING);
    bar.value = started ? positions - left : 0;
    counts.textContent = `${left} to label\n${number("s")} single · ${number("n")} not single · ${number("u")} unsure`;
  }

  function showSaved() {
    const late = started && mail.late();
    const open = mail.waiting(...CHANGES);
    root.classList.toggle("annotation-late", late);
    alarm.textContent = late
      ? `NOT SAVED${open ? `: ${open} change${open > 1 ? "s" : ""}` : ""}. The kernel is not responding: it is busy or dead. ` +
        `If you restart it, run this cell again; every change shown as saved is in ${fileName}.`
      : "";
    root.dataset.saved = String(labels.filter((given) => given !== NOTHING).length - mail.waiting("label"));
    root.dataset.open = String(open);
    status.textContent = late ? "NOT SAVED" : open ? "saving …" : notice || `all changes saved in ${fileName}`;
  }

  let notice = "";
  function notify(text) {
    notice = text;
    update();
  }

  function update() {
    showFacts();
    showProgress();
    showSaved();
    const loading = started ? "loading …" : "waiting for the kernel …";
    caption.textContent = onScreen === null && !frames.has(position) && !isSum() ? loading : "";
    layer.svg.style.display = mode === "box" ? "" : "none";
    root.dataset.mode = mode;
    root.dataset.position = String(position);
    root.dataset.ahead = String(readyAhead());
    for (const button of buttons.children) {
      button.hidden = button.dataset.mode !== undefined && button.dataset.mode !== mode;
      button.classList.toggle("annotation-given", button.dataset.label !== undefined && button.dataset.label === labels[position]);
    }
    help.textContent =
      mode === "box"
        ? "Drag the box, its edges or its corners, or draw a new box beside it. Arrow keys move it; Shift + arrow keys resize it."
        : "Click here, then press S for single, N for not single, U for unsure, ← back, → skip, Z undo.";
  }

  // ---- pictures, loaded ahead of the user

  const nextUnlabelled = (from) => {
    const after = labels.indexOf(NOTHING, from);
    return after === -1 ? labels.indexOf(NOTHING) : after;
  };

  // Positions in the order in which they will probably be needed.
  function upcoming() {
    const wanted = [position];
    for (let at = position + 1; at < positions && wanted.length < AHEAD; at += 1)
      if (labels[at] === NOTHING || at < position + BEHIND) wanted.push(at);
    return wanted;
  }

  function readyAhead() {
    const wanted = upcoming();
    const missing = wanted.findIndex((at) => !frames.has(at));
    return missing === -1 ? wanted.length : missing;
  }

  function askForFrames() {
    if (!started) return;
    const wanted = upcoming();
    const keep = new Set(wanted);
    for (let at = Math.max(0, position - 2 * BEHIND); at <= position; at += 1) keep.add(at);
    for (const at of frames.keys()) if (!keep.has(at)) frames.delete(at);
    for (let at = position - 1; at >= Math.max(0, position - BEHIND); at -= 1) wanted.push(at);
    const missing = wanted.filter((at) => !frames.has(at) && !asked.has(at));
    const soon = wanted.slice(0, AHEAD - BATCH).some((at) => !frames.has(at) && !asked.has(at));
    if (!missing.length || !(soon || missing.length >= BATCH) || asked.size > (REQUESTS - 1) * BATCH) return;
    const batch = missing.slice(0, BATCH);
    for (const at of batch) asked.add(at);
    mail.send("frames", { positions: batch });
    askForFrames();
  }

  async function takeFrames(message, buffers) {
    const levels = await Promise.all(buffers.map(inflated));
    message.frames.forEach((at, index) => {
      frames.set(at.position, { ...at, levels: levels[index] });
      asked.delete(at.position);
    });
    if (message.frames.some((at) => at.position === position) && !isSum()) paint();
    askForFrames();
    update();
  }

  function goTo(next) {
    position = clamp(next, 0, positions - 1);
    paint();
    askForFrames();
  }

  // ---- actions of the user

  function mayChange() {
    if (mail.late()) notify("NOT SAVED: wait for the kernel, or restart it and run this cell again");
    else if (mail.waiting("undo")) notify("undoing …");
    else return started;
    return false;
  }

  function give(letter, at) {
    if (!mayChange()) return;
    if (onScreen === null || onScreen.position !== position || at < onScreen.since) {
      root.dataset.ignored = String(Number(root.dataset.ignored ?? 0) + 1);
      notify("key ignored: the pattern was not on screen yet");
      return;
    }
    const { pattern } = onScreen;
    labels[position] = letter;
    notice = "";
    mail.send("label", { position, pattern, label: NAMES[letter] });
    const next = nextUnlabelled(position + 1);
    if (next === -1) notify("all patterns of the queue are labelled");
    if (next === -1) update();
    else goTo(next);
  }

  function commitBox() {
    const edges = layer.edges();
    if (edges === null || String(edges) === String(box.edges)) return;
    if (!mayChange()) return layer.show(box.edges, box.proposal);
    notice = "";
    box = { ...box, edges, drawn: true, share: null };
    mail.send("box", { edges });
  }

  function takeProposal() {
    if (!mayChange() || !box.drawn) return;
    notice = "";
    mail.send("box", { edges: null });
  }

  function setMode(next) {
    commitBox();
    mode = next;
    onSum = true;
    if (mode === "box") mail.send("sum");
    layer.show(layer.edges(), box.proposal);
    paint();
  }

  const actions = [
    { key: "s", text: "Single", mode: "label", label: "s", act: (at) => give("s", at) },
    { key: "n", text: "Not single", mode: "label", label: "n", act: (at) => give("n", at) },
    { key: "u", text: "Unsure", mode: "label", label: "u", act: (at) => give("u", at) },
    { key: "arrowleft", sign: "←", text: "Back", mode: "label", act: () => goTo(position - 1) },
    { key: "arrowright", sign: "→", text: "Skip", mode: "label", act: () => goTo(position + 1) },
    { key: "m", text: "Sum/pattern", mode: "box", act: () => { onSum = !onSum; paint(); } },
    { key: "p", text: "Use proposal", mode: "box", act: takeProposal },
    { key: "pageup", sign: "PgUp", text: "Back", mode: "box", act: () => goTo(position - 1) },
    { key: "pagedown", sign: "PgDn", text: "Next", mode: "box", act: () => goTo(position + 1) },
    { key: "z", text: "Undo", act: () => { if (mayChange()) mail.send("undo"); } },
    { key: "c", text: "Colours", act: () => { colour = colour === "jet" ? "gray" : "jet"; paint(); } },
    { key: "l", text: "Linear/log", act: () => { scale = scale === "log" ? "linear" : "log"; paint(); } },
    { key: "b", text: "Box", mode: "label", act: () => setMode("box") },
    { key: "b", text: "Labels", mode: "box", act: () => setMode("label") },
  ];
  for (const action of actions) {
    const button = element("button", "annotation-button", action.text);
    button.type = "button";
    if (action.mode) button.dataset.mode = action.mode;
    if (action.label) button.dataset.label = action.label;
    button.append(element("kbd", "", action.sign ?? action.key.toUpperCase()));
    button.addEventListener("click", (event) => {
      action.act(event.timeStamp);
      root.focus({ preventScroll: true });
    });
    buttons.append(button);
  }

  let used = -Infinity;
  for (const kind of ["keydown", "pointerdown", "focusin"])
    root.addEventListener(kind, () => {
      used = performance.now();
    });

  root.addEventListener("pointerdown", (event) => {
    if (!event.target.closest("button")) root.focus({ preventScroll: true });
  });

  root.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    if (mode === "box" && event.key in ARROWS) {
      event.preventDefault();
      layer.key(event);
      return;
    }
    const action = actions.find((one) => one.key === key && (one.mode ?? mode) === mode);
    if (!action) return;
    event.preventDefault();
    // a key that is held down would label patterns that nobody has looked at
    if (event.repeat && !key.startsWith("arrow") && !key.startsWith("page")) return;
    action.act(event.timeStamp);
  });

  root.addEventListener("keyup", (event) => {
    event.stopPropagation();
    if (event.key in ARROWS && mode === "box") commitBox();
  });

  root.addEventListener("focusout", () => {
    if (mode === "box") commitBox();
  });

  // ---- answers of Python

  function takeBox(message) {
    const { edges, proposal, drawn, share } = message;
    const newer = mail.waiting("box") > 0;
    box = { edges: newer ? box.edges : edges, proposal, drawn: drawn || newer, share: newer ? null : share };
    layer.show(newer ? layer.edges() : edges, proposal);
  }

  const answers = {
    state(message) {
      labels = [...message.labels];
      takeBox(message);
      if (!started) position = Math.max(0, nextUnlabelled(0));
      started = true;
      if (!labels.includes(NOTHING)) notice = "all patterns of the queue are labelled";
      paint();
      askForFrames();
    },
    frames: takeFrames,
    async sum(message, buffers) {
      takeBox(message);
      sum = { positives: message.positives, levels: buffers.length ? await inflated(buffers[0]) : null };
      if (mode === "box") paint();
    },
    labelled(message) {
      labels[message.position] = message.label;
      update();
    },
    boxed(message) {
      takeBox(message);
      update();
    },
    undone(message) {
      if (message.position === null) {
        takeBox(message);
        notify("undone: the previous box is back");
        return;
      }
      labels[message.position] = message.label;
      notice = "undone";
      if (message.view === view) goTo(message.position);
    },
    refused(message, _buffers, kind) {
      if (kind === "frames") asked.clear();
      if (kind === undefined) return;
      notify(CHANGES.includes(kind) ? `NOT SAVED: ${message.reason}` : message.reason);
      if (CHANGES.includes(kind)) mail.send("begin"); // show again what is on disk
    },
    nothing: () => notify("nothing to undo"),
    pong() {},
  };

  function receive(message, buffers) {
    const kind = mail.settle(message);
    answers[message.kind]?.(message, buffers, kind);
    showSaved();
  }

  model.on("msg:custom", receive);
  const clock = setInterval(() => {
    // while somebody works here, a dead kernel must not go unnoticed until the next key
    if (mail.idle() && performance.now() - used < AT_WORK) mail.send("ping");
    showSaved();
  }, 250);
  update();
  mail.send("begin");

  return () => {
    clearInterval(clock);
    layer.stop();
    model.off("msg:custom", receive);
  };
}

export default { render };
