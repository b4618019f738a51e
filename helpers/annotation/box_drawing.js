// Box over a picture: draw it, drag a corner, an edge or the whole box, or move and resize it with the arrow keys.
// Edges are [first row, row after the last, first column, column after the last] in detector pixels; null is no box.

const GRIP = 9; // distance from an edge within which the pointer grabs it [CSS pixels]
const CLICK = 3; // a shorter movement is a click, not a drag [CSS pixels]
const SVG = "http://www.w3.org/2000/svg";
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const CORNERS = ["top left", "top right", "bottom left", "bottom right"];
const BODY = { top: true, bottom: true, left: true, right: true };
const FAR_CORNER = { bottom: true, right: true };

function svgElement(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// Box after some of its edges have moved by whole pixels; it stays on the picture and keeps at least one pixel.
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

// Box spanned by two pixels, both included.
function spanned([row, column], [otherRow, otherColumn], [rows, columns]) {
  const ends = (one, other, length) => [
    clamp(Math.floor(Math.min(one, other)), 0, length - 1),
    clamp(Math.floor(Math.max(one, other)), 0, length - 1) + 1,
  ];
  return [...ends(row, otherRow, rows), ...ends(column, otherColumn, columns)];
}

// Edges that the pointer grabs: one or two near the outline, all of them inside, none outside.
function grabbedAt([row, column], edges, scale) {
  if (edges === null) return null;
  const [top, bottom, left, right] = edges;
  const grip = GRIP / scale;
  if (column < left - grip || column > right + grip || row < top - grip || row > bottom + grip) return null;
  const nearer = (value, here, other) =>
    Math.abs(value - here) <= grip && Math.abs(value - here) <= Math.abs(value - other);
  const grabbed = {
    top: nearer(row, top, bottom),
    bottom: nearer(row, bottom, top),
    left: nearer(column, left, right),
    right: nearer(column, right, left),
  };
  return Object.values(grabbed).some(Boolean) ? grabbed : BODY;
}

function cursorOf(grabbed) {
  if (grabbed === null) return "crosshair";
  if (grabbed === BODY) return "move";
  const vertical = grabbed.top || grabbed.bottom;
  const horizontal = grabbed.left || grabbed.right;
  if (vertical && horizontal) return grabbed.top === grabbed.left ? "nwse-resize" : "nesw-resize";
  return vertical ? "ns-resize" : "ew-resize";
}

// Layer over the picture. `changed` is called at each step, `commit` when a drag has ended.
function boxLayer(shape, { changed, commit }) {
  const [rows, columns] = shape;
  const svg = svgElement("svg", { viewBox: `0 0 ${columns} ${rows}`, class: "annotation-box" });
  const proposal = svgElement("rect", { class: "annotation-proposal" });
  const halo = svgElement("rect", { class: "annotation-halo" }); // a white line alone is invisible on white
  const outline = svgElement("rect", { class: "annotation-outline" });
  const handles = CORNERS.map(() => svgElement("rect", { class: "annotation-handle" }));
  svg.append(halo, outline, proposal, ...handles);
  let edges = null;
  let proposed = null;
  let drag = null;

  const scale = () => svg.getBoundingClientRect().width / columns || 1;

  function position(rect, box) {
    rect.style.display = box === null ? "none" : "";
    if (box === null) return;
    const [top, bottom, left, right] = box;
    const sizes = { x: left, y: top, width: right - left, height: bottom - top };
    for (const [key, value] of Object.entries(sizes)) rect.setAttribute(key, value);
  }

  function draw() {
    position(proposal, String(proposed) === String(edges) ? null : proposed);
    position(halo, edges);
    position(outline, edges);
    const half = 4 / scale();
    CORNERS.forEach((corner, index) => {
      if (edges === null) return position(handles[index], null);
      const row = edges[corner.includes("top") ? 0 : 1];
      const column = edges[corner.includes("left") ? 2 : 3];
      return position(handles[index], [row - half, row + half, column - half, column + half]);
    });
  }

  function step(next) {
    edges = next;
    draw();
    changed();
  }

  function pixelAt(event) {
    const frame = svg.getBoundingClientRect();
    return [((event.clientY - frame.top) / frame.height) * rows, ((event.clientX - frame.left) / frame.width) * columns];
  }

  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    svg.setPointerCapture(event.pointerId);
    const from = pixelAt(event);
    drag = { grabbed: grabbedAt(from, edges, scale()), edges, from, x: event.clientX, y: event.clientY, far: false };
  });

  svg.addEventListener("pointermove", (event) => {
    if (drag === null) {
      svg.style.cursor = cursorOf(grabbedAt(pixelAt(event), edges, scale()));
      return;
    }
    const [across, down] = [event.clientX - drag.x, event.clientY - drag.y];
    drag.far ||= Math.hypot(across, down) >= CLICK;
    if (!drag.far) return;
    const [byRows, byColumns] = [Math.round(down / scale()), Math.round(across / scale())];
    if (drag.grabbed === null) step(spanned(drag.from, pixelAt(event), shape));
    else step(moved(drag.edges, drag.grabbed, byRows, byColumns, shape));
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
    step(before);
  });

  const resized = new ResizeObserver(draw);
  resized.observe(svg);

  return {
    svg,
    edges: () => edges,
    stop: () => resized.disconnect(),
    // Show the box that Python sends; a drag in progress takes precedence.
    show(next, nextProposed) {
      proposed = nextProposed;
      if (drag === null) edges = next;
      draw();
    },
    // An arrow key moves the box, or with Shift its lower right corner; if there is no box, it creates one.
    key(event) {
      if (drag !== null) return;
      const quarter = [Math.floor(rows / 4), Math.ceil((3 * rows) / 4), Math.floor(columns / 4), Math.ceil((3 * columns) / 4)];
      const grabbed = event.shiftKey ? FAR_CORNER : BODY;
      step(edges === null ? quarter : moved(edges, grabbed, ...ARROWS[event.key], shape));
    },
  };
}
