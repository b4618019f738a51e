// One box over a picture: drag a corner, an edge or the body; arrow keys move it, Shift and arrow keys resize it.
// Plain JavaScript, as shipped: no build step and nothing from the network.

const GRIP = 9; // how near to an edge the pointer grabs it [CSS pixels]
const CLICK = 3; // a shorter way is a click, not a drag [CSS pixels]
const PATIENCE = 2000; // without Python's echo for so long, the box counts as not saved [ms]

const SVG = "http://www.w3.org/2000/svg";
const KEYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const CORNERS = ["top left", "top right", "bottom left", "bottom right"];
const BODY = { top: true, bottom: true, left: true, right: true };
const FAR_CORNER = { bottom: true, right: true };

function svgElement(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// The box after some of its edges have moved by whole pixels; it never leaves the picture and keeps at least one pixel.
function moved([top, bottom, left, right], grabbed, down, across, [rows, columns]) {
  if (grabbed === BODY) {
    down = clamp(down, -top, rows - bottom);
    across = clamp(across, -left, columns - right);
    return [top + down, bottom + down, left + across, right + across];
  }
  return [
    grabbed.top ? clamp(top + down, 0, bottom - 1) : top,
    grabbed.bottom ? clamp(bottom + down, top + 1, rows) : bottom,
    grabbed.left ? clamp(left + across, 0, right - 1) : left,
    grabbed.right ? clamp(right + across, left + 1, columns) : right,
  ];
}

// Which edges the pointer holds: one or two near the outline, all of them inside, none outside.
function grabbedAt(x, y, [top, bottom, left, right], scale) {
  const grip = GRIP / scale;
  if (x < left - grip || x > right + grip || y < top - grip || y > bottom + grip) return null;
  const nearer = (value, here, other) =>
    Math.abs(value - here) <= grip && Math.abs(value - here) <= Math.abs(value - other);
  const grabbed = {
    top: nearer(y, top, bottom),
    bottom: nearer(y, bottom, top),
    left: nearer(x, left, right),
    right: nearer(x, right, left),
  };
  return Object.values(grabbed).some(Boolean) ? grabbed : BODY;
}

function cursorOf(grabbed) {
  if (grabbed === null) return "default";
  if (grabbed === BODY) return "move";
  const vertical = grabbed.top || grabbed.bottom;
  const horizontal = grabbed.left || grabbed.right;
  if (vertical && horizontal) return grabbed.top === grabbed.left ? "nwse-resize" : "nesw-resize";
  return vertical ? "ns-resize" : "ew-resize";
}

function render({ model, el }) {
  const [rows, columns] = model.get("shape");
  let edges = model.get("edges"); // as drawn; the model has them once a drag or a key press has ended
  let drag = null;
  let timer = null;

  const root = document.createElement("div");
  root.className = "box-widget";
  root.tabIndex = 0;
  root.setAttribute("role", "application");
  root.setAttribute("aria-label", "Bounding box: arrow keys move it, Shift and arrow keys resize it");
  // Without this, JupyterLab takes keys typed here for its own commands and may delete cells.
  root.setAttribute("data-lm-suppress-shortcuts", "true");

  const svg = svgElement("svg", { viewBox: `0 0 ${columns} ${rows}` });
  const image = svgElement("image", { width: columns, height: rows, href: model.get("picture") });
  const outline = svgElement("rect", { class: "box-widget-outline" });
  const handles = CORNERS.map(() => svgElement("rect", { class: "box-widget-handle" }));
  svg.append(image, outline, ...handles);

  const status = document.createElement("div");
  status.className = "box-widget-status";
  status.setAttribute("aria-live", "polite");
  const help = document.createElement("div");
  help.className = "box-widget-help";
  help.textContent = "Drag the box, its edges or corners. Or: arrow keys move it, Shift + arrow keys resize it.";
  root.append(svg, status, help);
  el.append(root);

  const scale = () => svg.getBoundingClientRect().width / columns || 1;

  function draw() {
    const [top, bottom, left, right] = edges;
    const side = 8 / scale();
    const place = (rect, x, y, width, height) => {
      for (const [key, value] of Object.entries({ x, y, width, height })) rect.setAttribute(key, value);
    };
    place(outline, left, top, right - left, bottom - top);
    CORNERS.forEach((corner, index) => {
      const x = corner.includes("left") ? left : right;
      const y = corner.includes("top") ? top : bottom;
      place(handles[index], x - side / 2, y - side / 2, side, side);
    });
  }

  function tell() {
    const [top, bottom, left, right] = edges;
    const waiting = model.get("saved") !== model.get("revision");
    const late = waiting && timer === null;
    const words = [`rows ${top} to ${bottom}, columns ${left} to ${right}`];
    const settled = !waiting && String(edges) === String(model.get("edges"));
    if (settled) words.push(`${(100 * model.get("share")).toFixed(1)} % of the counts`);
    if (late) words.push("NOT SAVED: is the kernel running?");
    else if (waiting) words.push("saving …");
    else if (settled && model.get("saved") > 0) words.push(`saved to ${model.get("file_name")}`);
    status.textContent = words.join(" · ");
    status.classList.toggle("box-widget-late", late);
  }

  function show(next) {
    edges = next;
    draw();
    tell();
  }

  // One message for a whole drag or held key, and none if nothing has changed.
  function commit() {
    if (String(edges) === String(model.get("edges"))) return;
    model.set("edges", edges);
    model.set("revision", model.get("revision") + 1);
    model.save_changes();
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = null;
      tell();
    }, PATIENCE);
    tell();
  }

  function pixelAt(event) {
    const frame = svg.getBoundingClientRect();
    return [((event.clientX - frame.left) / frame.width) * columns, ((event.clientY - frame.top) / frame.height) * rows];
  }

  svg.addEventListener("pointerdown", (event) => {
    root.focus({ preventScroll: true });
    const grabbed = grabbedAt(...pixelAt(event), edges, scale());
    if (event.button !== 0 || grabbed === null) return;
    event.preventDefault();
    svg.setPointerCapture(event.pointerId);
    drag = { grabbed, edges, x: event.clientX, y: event.clientY, far: false };
  });

  svg.addEventListener("pointermove", (event) => {
    if (drag === null) {
      svg.style.cursor = cursorOf(grabbedAt(...pixelAt(event), edges, scale()));
      return;
    }
    const [across, down] = [event.clientX - drag.x, event.clientY - drag.y];
    drag.far ||= Math.hypot(across, down) >= CLICK;
    if (!drag.far) return;
    const [byRows, byColumns] = [Math.round(down / scale()), Math.round(across / scale())];
    show(moved(drag.edges, drag.grabbed, byRows, byColumns, [rows, columns]));
  });

  svg.addEventListener("pointerup", () => {
    if (drag === null) return;
    drag = null;
    commit();
  });

  svg.addEventListener("pointercancel", () => {
    if (drag === null) return;
    const before = drag.edges;
    drag = null;
    show(before);
  });

  root.addEventListener("keydown", (event) => {
    event.stopPropagation();
    const step = KEYS[event.key];
    if (step === undefined || drag !== null) return;
    event.preventDefault();
    show(moved(edges, event.shiftKey ? FAR_CORNER : BODY, ...step, [rows, columns]));
  });

  root.addEventListener("keyup", (event) => {
    event.stopPropagation();
    if (event.key in KEYS) commit();
  });

  root.addEventListener("blur", commit);

  const fromPython = () => {
    if (drag === null) show(model.get("edges"));
  };
  const echoed = () => {
    if (model.get("saved") === model.get("revision")) {
      clearTimeout(timer);
      timer = null;
    }
    tell();
  };
  model.on("change:edges", fromPython);
  model.on("change:saved", echoed);
  model.on("change:share", tell);

  const resized = new ResizeObserver(draw);
  resized.observe(svg);
  show(edges);

  return () => {
    resized.disconnect();
    clearTimeout(timer);
    model.off("change:edges", fromPython);
    model.off("change:saved", echoed);
    model.off("change:share", tell);
  };
}

export default { render };
