// What moves the interactive figures of the book. Python (the files beside this one) draws each figure at its
// starting values; here the same formulas run in the browser. A model maps the settings of the controls to
// numbers and to SVG attributes of the parts that it moves.
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
    const { width, left, right, top, bottom } = data.box;
    const { x: [xLow, xHigh], y: [yLow, yHigh], height } = data.planes[name];
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
      words: (x, y, text) => ({ x: across(x).toFixed(2), y: down(y).toFixed(2), text }),
      bar: (x, y, wide) => ({
        x: across(x - wide / 2).toFixed(2),
        y: down(y).toFixed(2),
        width: (wide * xScale).toFixed(2),
        height: (down(0) - down(y)).toFixed(2),
      }),
      ovals: (centres, radii) => {
        const made = centres.map(([x, y], i) => {
          const [wide, high] = [radii[i][0] * xScale, radii[i][1] * yScale];
          const arc = `a${wide.toFixed(1)} ${high.toFixed(1)} 0 1 0 `;
          const ends = [2 * wide, -2 * wide].map((end) => `${arc}${end.toFixed(1)} 0`);
          return `M${(across(x) - wide).toFixed(1)} ${down(y).toFixed(1)}${ends.join("")}z`;
        });
        return { d: made.join("") };
      },
      cells: (inside) => {
        const wide = (width - left - right) / inside[0].length;
        const high = (height - top - bottom) / inside.length;
        const made = inside.map((row, j) => {
          const from = (height - bottom - (j + 1) * high).toFixed(1);
          let line = "";
          for (let i = 0, end = 0; i < row.length; i = end + 1) {
            for (end = i; end < row.length && row[end]; end += 1);
            const size = ((end - i) * wide).toFixed(1);
            const corner = `M${(left + i * wide).toFixed(1)} ${from}`;
            line += end > i ? `${corner}h${size}v${(high + 0.3).toFixed(1)}h-${size}z` : "";
          }
          return line;
        });
        return { d: made.join("") };
      },
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

  // --- a start that rolls down to its optimum ---

  const normal = (t, mean, sd) =>
    Math.exp((-0.5 * (t - mean) * (t - mean)) / (sd * sd)) / (sd * Math.sqrt(2 * Math.PI));

  const NODES = linspace(-6, 6, 241);
  const TOTAL = NODES.reduce((sum, z) => sum + normal(z, 0, 1), 0);
  const WEIGHTS = NODES.map((z) => normal(z, 0, 1) / TOTAL);

  const softplus = (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));

  const reverseKl = (m, sigma, alpha, r) => {
    let expected = 0;
    for (let i = 0; i < NODES.length; i += 1) {
      expected += WEIGHTS[i] * softplus(alpha * (m + sigma * NODES[i]) - (alpha * alpha) / 2);
    }
    const quadratic = (m * m + r * (sigma * sigma - 1)) / 2;
    return -r * Math.log(sigma) + quadratic + Math.LN2 - expected;
  };

  const step = (m, a, alpha, r, { longest, halfWay }) => {
    const sigma = Math.exp(a);
    let [total, tilted] = [0, 0];
    for (let i = 0; i < NODES.length; i += 1) {
      const logit = alpha * (m + sigma * NODES[i]) - (alpha * alpha) / 2;
      const share = WEIGHTS[i] / (1 + Math.exp(-logit));
      total += share;
      tilted += share * NODES[i];
    }
    const slope = m - alpha * total;
    const moveM = Math.abs(slope) < halfWay ? 0 : -slope / 2;
    const slopeA = r * (sigma * sigma - 1) - alpha * sigma * tilted;
    const moveA = -slopeA / (1 + 2 * r * sigma * sigma);
    const shorter = Math.min(1, longest / Math.max(Math.hypot(moveM, moveA), 1e-300));
    return [m + shorter * moveM, a + shorter * moveA];
  };

  const descent = (start, sd, alpha, r, data) => {
    let [m, a] = [start, Math.log(sd)];
    const way = { means: [m], sds: [sd] };
    for (let count = 1; count <= data.steps; count += 1) {
      [m, a] = step(m, a, alpha, r, data);
      if (count % data.kept === 0) {
        way.means.push(m);
        way.sds.push(Math.exp(a));
      }
    }
    return way;
  };

  const centres = ([low, high], count) =>
    Array.from({ length: count }, (_, i) => low + ((i + 0.5) * (high - low)) / count);

  const map = (alpha, r, panel, data) => {
    const columns = centres(panel.x, data.columns);
    const rows = centres(panel.y, data.rows);
    const field = rows.map((sd) => columns.map((m) => reverseKl(m, sd, alpha, r)));
    const lowest = Math.min(...field.map((row) => Math.min(...row)));
    const parts = {};
    data.levels.forEach((level, i) => {
      parts[`level_${i}`] = panel.cells(field.map((row) => row.map((v) => v < lowest + level)));
    });
    return parts;
  };

  let lastMap = { key: "" }; // moving the start leaves the map as it is

  const downhill = ({ alpha, coordinates: r, mean, sd }, data) => {
    const [landscape, densities] = [panelOf(data, "landscape"), panelOf(data, "densities")];
    if (lastMap.key !== `${alpha} ${r}`) {
      lastMap = { key: `${alpha} ${r}`, parts: map(alpha, r, landscape, data) };
    }
    const way = descent(mean, sd, alpha, r, data);
    const [endMean, endSd] = [way.means[way.means.length - 1], way.sds[way.sds.length - 1]];
    const t = linspace(-4, 11, 151);
    const parts = {
      ...lastMap.parts,
      path: landscape.line(way.means, way.sds),
      start_dot: landscape.dot(mean, sd),
      end_dot: landscape.dot(endMean, endSd),
      target: densities.line(t, t.map((x) => (normal(x, 0, 1) + normal(x, alpha, 1)) / 2)),
      start_q: densities.line(t, t.map((x) => normal(x, mean, sd))),
      end_q: densities.line(t, t.map((x) => normal(x, endMean, endSd))),
    };
    const values = {
      alpha: number(alpha, 2),
      coordinates: number(r, 0),
      share: number(endMean / alpha, 2),
      mean: number(mean, 2),
      sd: number(sd, 2),
      kl: number(reverseKl(mean, sd, alpha, r), 3),
      end_mean: number(endMean, 2),
      end_sd: number(endSd, 2),
      end_kl: number(reverseKl(endMean, endSd, alpha, r), 3),
    };
    return { values, parts };
  };

  // --- one function, many weights ---

  const after = (pressed) => {
    const [places, signs] = [[0, 1, 2], [1, 1, 1]];
    for (const button of pressed) {
      const [move, place] = button.split("_");
      const i = Number(place) - 1;
      if (move === "swap") {
        [places[i], places[i + 1]] = [places[i + 1], places[i]];
      } else {
        signs[places[i]] *= -1;
      }
    }
    return { places, signs };
  };

  const networkParts = (panel, units, places, names) => {
    const parts = {};
    for (const [name, x] of [["x", 0], ["f", 2]]) {
      parts[`unit_${name}`] = panel.dot(x, 2);
      parts[`letter_${name}`] = panel.words(x, 2 - 0.08, name);
    }
    places.forEach((unit, place) => {
      const [name, y] = [names[unit], 3 - place];
      for (const [side, end, weight] of [["in", 0, units[unit][0]], ["out", 2, units[unit][2]]]) {
        const dashes = { "stroke-dasharray": weight < 0 ? "5 4" : "none" };
        parts[`${side}_${name}`] = { ...panel.line([1, end], [y, 2]), ...dashes };
        const above = y + 0.4 * (2 - y) + (y >= 2 ? 0.14 : -0.4);
        parts[`${side}_of_${name}`] = panel.words(0.6 + 0.4 * end, above, number(weight, 1));
      }
      parts[`unit_${name}`] = panel.dot(1, y);
      parts[`letter_${name}`] = panel.words(1, y - 0.08, name);
      parts[`bias_of_${name}`] = panel.words(1, y + 0.36, number(units[unit][1], 1));
    });
    return parts;
  };

  const contribution = ([weight, bias, out], x) => out * Math.tanh(weight * x + bias);

  const copies = ({ pressed }, data) => {
    const { places, signs } = after(pressed);
    const units = data.units.map((unit, i) => unit.map((weight) => signs[i] * weight));
    const here = places.map((unit) => units[unit]);
    const panel = panelOf(data, "function");
    const x = linspace(-3, 3, 121);
    const outputOf = (network) => (at) =>
      network.reduce((sum, unit) => sum + contribution(unit, at), 0) + data.endBias;
    const parts = networkParts(panelOf(data, "network"), units, places, data.names);
    data.names.forEach((name, i) => {
      parts[`curve_${name}`] = panel.line(x, x.map((at) => contribution(units[i], at)));
    });
    const [outputs, before] = [x.map(outputOf(here)), x.map(outputOf(data.units))];
    parts.function = panel.line(x, outputs);
    const rank = 2 * places[0] + Number(places[1] > places[2]);
    const flipped = signs.reduce((sum, sign, unit) => sum + (sign < 0 ? 2 ** unit : 0), 0);
    const moved = here.flatMap((unit, i) => unit.map((weight, j) => weight - data.units[i][j]));
    const values = {
      copy: number(8 * rank + flipped + 1, 0),
      distance: number(Math.hypot(...moved), 2),
      change: number(Math.max(...outputs.map((output, i) => Math.abs(output - before[i]))), 3),
    };
    here.forEach((unit, i) => {
      ["in", "bias", "out"].forEach((name, j) => {
        values[`${name}_${i + 1}`] = number(unit[j], 1);
      });
    });
    return { values, parts };
  };

  // --- the smallest network with a symmetry ---

  const nearest = (places, value) => {
    const away = places.map((place) => Math.abs(place - value));
    return away.indexOf(Math.min(...away));
  };

  const exactDensity = (panel, slope, noise, { squares, cells }) => {
    const ws = centres(panel.x, cells);
    const sides = [1, -1].map((sign) => ws.map((w) => Math.max(sign * w, 0)));
    const logJoint = ws.map((w, j) =>
      ws.map((v, i) => {
        const missed = sides.map((side) => side[j] + side[i] - slope);
        const error = missed.reduce((sum, miss, side) => sum + squares[side] * miss * miss, 0);
        return -(w * w + v * v) / 2 - error / (2 * noise * noise);
      }),
    );
    const highest = Math.max(...logJoint.map((row) => Math.max(...row)));
    return logJoint.map((row) => row.map((value) => Math.exp(value - highest)));
  };

  const smallest = (state, data) => {
    const [i, j] = [nearest(data.slopes, state.slope), nearest(data.noises, state.noise)];
    const [slope, noise] = [data.slopes[i], data.noises[j]];
    const fit = data.fits[i * data.noises.length + j];
    const [distance, plain, after, trained] = [fit[0], fit.slice(1, 6), fit[6], fit.slice(7)];
    const [plane, bars] = [panelOf(data, "plane"), panelOf(data, "bars")];
    const density = exactDensity(plane, slope, noise, data);
    const outline = ([x, y, a, b], copies) => {
      const radii = [a, b].map((sd) => sd * data.outline);
      return plane.ovals([[x, y], [y, x]].slice(0, copies), [radii, [radii[1], radii[0]]]);
    };
    const log2 = Math.LN2;
    const parts = {
      diagonal: plane.line([-0.5, 0.5], [-0.5, 0.5]),
      "mean field": outline(plain, 1),
      afterwards: outline(plain, 2),
      symmetrized: outline(trained, 2),
      "log 2": bars.line(bars.x, [log2, log2]),
      "name of log 2": bars.words(2.58, log2 + 0.012, "log 2"),
    };
    data.levels.forEach((level, k) => {
      parts[`level_${k}`] = plane.cells(density.map((row) => row.map((value) => value > level)));
    });
    const kls = { "mean field": plain[4], afterwards: after, symmetrized: trained[4] };
    Object.entries(kls).forEach(([method, kl], place) => {
      parts[`bar of ${method}`] = bars.bar(place, kl, 0.6);
      parts[`height of ${method}`] = bars.words(place, kl + 0.012, number(kl, 3));
    });
    const off = ([first, second]) => number(Math.abs(first - second) / (2 * slope), 2);
    const values = {
      slope: number(slope, 2),
      noise: number(noise, 1),
      distance: number(distance, 1),
      afterwards_kl: number(after, 3),
      mean_field_kl: number(plain[4], 3),
      mean_field_off: off(plain),
      symmetrized_kl: number(trained[4], 3),
      symmetrized_off: off(trained),
    };
    return { values, parts };
  };

  // --- width against information ---

  const logFactorial = (n) => linspace(1, n, n).reduce((sum, factor) => sum + Math.log(factor), 0);

  const widths = (state, data) => {
    const [step, kept] = [
      nearest(data.factors, state.factor),
      nearest(data.permutations, state.num_permutations),
    ];
    const { place } = state;
    const n = data.units[place];
    const most = data.units.map(logFactorial);
    const [curves, units] = [panelOf(data, "widths"), panelOf(data, "units")];
    const radii = data.scale.slice(0, n).map((sds) => sds.map((sd) => sd * data.factors[step]));
    const parts = {
      here: curves.line([place, place], curves.y),
      most: curves.line(curves.x, [100, 100]),
      ovals: units.ovals(data.loc.slice(0, n), radii),
    };
    const values = {
      units: number(n, 0),
      factor: number(data.factors[step], 1),
      num_permutations: number(data.permutations[kept], 0),
      most: number(most[place], 2),
    };
    for (const [bound, found] of Object.entries(data.found)) {
      const along = found
        .filter((value, i) => i % data.factors.length === step && value !== null)
        .map((value) => (Array.isArray(value) ? value[kept] : value));
      const share = along.map((value, i) => (100 * value) / most[i]);
      const known = place < share.length;
      parts[`${bound}_curve`] = curves.line(share.map((_, i) => i), share);
      values[bound] = known ? number(along[place], 2) : "";
      values[`${bound}_share`] = known ? number(share[place], 0) : "";
      const points = share.map((value, i) => [i, value]);
      parts[`${bound}_marks`] = curves.ovals(points, share.map(() => data.mark));
    }
    return { values, parts };
  };

  const MODELS = { "two-units": twoUnits, downhill, copies, smallest, widths };

  // --- one figure: read the controls, run the model, move the parts ---

  const settings = (form) => {
    const state = {};
    for (const input of form.querySelectorAll("input")) {
      state[input.name] = Number(input.value);
      let text = number(state[input.name], Number(input.dataset.digits));
      if (input.dataset.shown) {
        text = JSON.parse(input.dataset.shown)[(state[input.name] - input.min) / input.step];
        input.setAttribute("aria-valuetext", text);
      }
      input.nextElementSibling.textContent = text;
    }
    return state;
  };

  const show = (figure, data, { values, parts }) => {
    for (const part of figure.querySelectorAll("[data-part]")) {
      const moved = parts[part.dataset.part];
      const { text, ...attributes } = moved;
      Object.keys(attributes).forEach((name) => part.setAttribute(name, attributes[name]));
      if (text !== undefined) {
        part.textContent = text;
      }
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
    let pressed = [];
    const update = () => show(figure, data, model({ ...settings(form), pressed }, data));
    form.addEventListener("input", update);
    for (const button of form.querySelectorAll("button")) {
      button.addEventListener("click", () => {
        pressed = button.name === "afresh" ? [] : [...pressed, button.name];
        update();
      });
    }
    form.addEventListener("submit", (event) => event.preventDefault());
    form.reset();
    for (const svg of figure.querySelectorAll("svg[data-drag]")) {
      draggable(svg, data, form, update);
    }
    form.hidden = false;
  };

  document.querySelectorAll(".symvi-figure:not([data-ready])").forEach(start);
})();
