// What moves the interactive figures of the book. Python (interactive.py) draws each figure at its starting
// values; here the same formulas run in the browser. A model maps the settings of the controls to numbers
// and to SVG attributes of the parts that it moves.
(() => {
  "use strict";

  const linspace = (low, high, count) =>
    Array.from({ length: count }, (_, i) => low + ((high - low) * i) / (count - 1));

  const number = (value, digits) => {
    const shown = value.toFixed(digits);
    return Number(shown) === 0 ? shown.replace("-", "") : shown.replace("-", "−");
  };

  // --- where the numbers of a panel lie in its picture, and back ---

  const panelOf = (data, name) => {
    const { width, height, left, right, top, bottom } = data.box;
    const [[xLow, xHigh], [yLow, yHigh]] = [data.planes[name].x, data.planes[name].y];
    const xScale = (width - left - right) / (xHigh - xLow);
    const yScale = (height - top - bottom) / (yHigh - yLow);
    const across = (x) => left + (x - xLow) * xScale;
    const down = (y) => height - bottom - (y - yLow) * yScale;
    return {
      x: [xLow, xHigh],
      y: [yLow, yHigh],
      line: (xs, ys) => ({
        points: xs.map((x, i) => `${across(x).toFixed(2)},${down(ys[i]).toFixed(2)}`).join(" "),
      }),
      dot: (x, y) => ({ cx: across(x).toFixed(2), cy: down(y).toFixed(2) }),
      back: (a, b) => ({ x: xLow + (a - left) / xScale, y: yLow + (height - bottom - b) / yScale }),
    };
  };

  // --- two units dragged apart ---

  const BOUNDS = ["exact", "infonce", "lower", "upper"];

  const chances = (k) => {
    const found = [Math.pow(2, 1 - k)];
    for (let swaps = 1; swaps < k; swaps += 1) {
      found.push((found[swaps - 1] * (k - swaps)) / swaps);
    }
    return found;
  };

  const pairOverlap = (delta, rate) => {
    const overlap = Math.exp(-rate * delta * delta);
    return [Math.LN2 - Math.log1p(overlap), (2 * rate * delta * overlap) / (1 + overlap)];
  };

  const pairBounds = (delta, k, { nodes, weights }) => {
    const found = { exact: Math.LN2, exact_slope: 0, infonce: Math.log(k), infonce_slope: 0 };
    const chance = chances(k);
    nodes.forEach((node, i) => {
      const ratio = Math.exp(-delta * delta + Math.SQRT2 * delta * node);
      const growth = Math.SQRT2 * node - 2 * delta;
      found.exact -= weights[i] * Math.log1p(ratio);
      found.exact_slope -= (weights[i] * growth * ratio) / (1 + ratio);
      chance.forEach((p, swaps) => {
        const total = k - swaps + swaps * ratio;
        found.infonce -= weights[i] * p * Math.log(total);
        found.infonce_slope -= (weights[i] * p * growth * swaps * ratio) / total;
      });
    });
    [found.lower, found.lower_slope] = pairOverlap(delta, 0.25);
    [found.upper, found.upper_slope] = pairOverlap(delta, 1);
    return found;
  };

  const twoUnits = (state, data) => {
    const { separation, num_permutations: k } = state;
    const here = pairBounds(separation, k, data);
    const units = panelOf(data, "units");
    const grid = linspace(0, 6, 121);
    const curves = grid.map((delta) => pairBounds(delta, k, data));
    const weight = linspace(-3, 9, 121);
    const peak = 1 / Math.sqrt(2 * Math.PI);
    const density = (mean) => weight.map((w) => peak * Math.exp(-0.5 * (w - mean) * (w - mean)));
    const parts = {
      first: units.line(weight, density(0)),
      second: units.line(weight, density(separation)),
      mean: units.dot(separation, peak),
    };
    for (const [name, end] of [["information", ""], ["slopes", "_slope"]]) {
      const panel = panelOf(data, name);
      parts[`here${end}`] = panel.line([separation, separation], panel.y);
      for (const bound of BOUNDS) {
        parts[`${bound}${end}_curve`] = panel.line(grid, curves.map((c) => c[bound + end]));
        parts[`${bound}${end}_dot`] = panel.dot(separation, here[bound + end]);
      }
    }
    const values = { separation: number(separation, 2), num_permutations: number(k, 0) };
    for (const name of Object.keys(here)) {
      values[name] = number(here[name], 3);
    }
    return { values, parts };
  };

  const MODELS = { "two-units": twoUnits };

  // --- one figure: read the controls, run the model, move the parts ---

  const settings = (form) => {
    const state = {};
    for (const input of form.querySelectorAll("input")) {
      state[input.name] = Number(input.value);
      input.nextElementSibling.textContent = number(state[input.name], Number(input.dataset.digits));
    }
    return state;
  };

  const show = (figure, data, { values, parts }) => {
    for (const part of figure.querySelectorAll("[data-part]")) {
      const moved = parts[part.dataset.part];
      Object.keys(moved).forEach((name) => part.setAttribute(name, moved[name]));
    }
    for (const cell of figure.querySelectorAll("[data-value]")) {
      cell.textContent = values[cell.dataset.value];
    }
    const sentence = data.sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);
    figure.querySelector("[aria-live]").textContent = sentence;
  };

  const draggable = (svg, data, form, update) => {
    const panel = panelOf(data, svg.dataset.panel);
    const axes = JSON.parse(svg.dataset.drag);
    const move = (event) => {
      const box = svg.getBoundingClientRect();
      const scale = data.box.width / box.width;
      const at = panel.back((event.clientX - box.left) * scale, (event.clientY - box.top) * scale);
      for (const axis of Object.keys(axes)) {
        form.elements.namedItem(axes[axis]).value = at[axis];
      }
      update();
    };
    svg.addEventListener("pointerdown", (event) => {
      svg.setPointerCapture(event.pointerId);
      move(event);
    });
    svg.addEventListener("pointermove", (event) => {
      if (svg.hasPointerCapture(event.pointerId)) {
        move(event);
      }
    });
  };

  const start = (figure) => {
    figure.dataset.ready = "yes";
    const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const form = figure.querySelector("form");
    const model = MODELS[figure.dataset.kind];
    const update = () => show(figure, data, model(settings(form), data));
    form.addEventListener("input", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.reset();
    for (const svg of figure.querySelectorAll("svg[data-drag]")) {
      draggable(svg, data, form, update);
    }
    form.hidden = false;
  };

  document.querySelectorAll(".symvi-figure:not([data-ready])").forEach(start);
})();
