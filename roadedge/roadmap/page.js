// The page of a map: rasters as tiles out of the page itself, roads on one canvas, a panel to choose what is shown.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const frame = data.frame;
  const widthM = frame.width * frame.gsd_m;
  const heightM = frame.height * frame.gsd_m;

  // x to the right and y up in metres from the upper left corner; at zoom 0 a pixel of the screen is one of the map.
  const crs = L.extend({}, L.CRS.Simple, {
    transformation: new L.Transformation(1 / frame.gsd_m, 0, -1 / frame.gsd_m, 0),
  });
  const corners = L.latLngBounds([-heightM, 0], [0, widthM]);
  const map = L.map("map", { crs, zoomSnap: 0.5, minZoom: -24, maxZoom: 5, preferCanvas: true, maxBoundsViscosity: 0.6 });
  map.attributionControl.setPrefix('<a href="https://leafletjs.com">Leaflet</a>');
  L.control.scale({ imperial: false, maxWidth: 140 }).addTo(map);

  const controls = document.getElementById("controls");
  const element = (name, attributes = {}, ...children) => {
    const made = Object.assign(document.createElement(name), attributes);
    made.append(...children);
    return made;
  };

  // ---- rasters ---------------------------------------------------------------------------------------------------
  const ramp = (stops, share) => {
    const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    return stops[low].map((value, i) => Math.round(value + (at - low) * (stops[low + 1][i] - value)));
  };
  const PROBABILITY = [[255, 214, 10], [255, 84, 0], [208, 0, 111]];
  const DENSITY = [[30, 60, 220], [0, 190, 230], [190, 255, 120]];
  const VALUES = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const UNKNOWN = "#8d96a5";

  const Tiles = L.GridLayer.extend({
    // A tile that is not in the page is empty. `colours` paints grey steps; without it tiles are pictures.
    initialize(raster, colours, options) {
      L.GridLayer.prototype.initialize.call(this, options);
      this.raster = raster;
      this.colours = colours;
    },
    createTile(coords, done) {
      const content = this.raster.tiles[`${-coords.z}/${coords.x}/${coords.y}`];
      const tile = L.DomUtil.create("canvas", "leaflet-tile");
      tile.width = tile.height = frame.tile;
      if (!content) {
        setTimeout(() => done(null, tile), 0);
        return tile;
      }
      const picture = new Image();
      picture.onload = () => {
        const context = tile.getContext("2d", { willReadFrequently: Boolean(this.colours) });
        context.drawImage(picture, 0, 0);
        if (this.colours) {
          const pixels = context.getImageData(0, 0, frame.tile, frame.tile);
          tile.steps = new Uint8Array(frame.tile * frame.tile);
          for (let i = 0; i < tile.steps.length; i++) tile.steps[i] = Math.round(pixels.data[4 * i] / frame.spread);
          this.paint(tile);
        }
        done(null, tile);
      };
      picture.onerror = () => done(new Error("a tile of the page is damaged"), tile);
      picture.src = `data:${this.raster.kind};base64,${content}`;
      return tile;
    },
    paint(tile) {
      const context = tile.getContext("2d");
      const pixels = context.createImageData(frame.tile, frame.tile);
      const table = this.colours();
      const target = new Uint32Array(pixels.data.buffer);
      for (let i = 0; i < target.length; i++) target[i] = table[tile.steps[i]] || 0;
      context.putImageData(pixels, 0, 0);
    },
    repaint() {
      for (const { el } of Object.values(this._tiles)) if (el.steps) this.paint(el);
    },
  });

  // Red, green, blue and opacity of each step as the canvas keeps them: the lowest byte is red on every machine in use.
  const table = (stops, least, opacityOf) => {
    const found = new Uint32Array(frame.steps + 1);
    for (let step = 1; step <= frame.steps; step++) {
      const share = (step - 1) / (frame.steps - 1);
      if (share < least) continue;
      const [red, green, blue] = ramp(stops, share);
      found[step] = (Math.round(255 * opacityOf(share)) << 24 | blue << 16 | green << 8 | red) >>> 0;
    }
    return found;
  };

  const layers = {};
  const shown = { least: 0.1, confidence: 0 };
  const tableOf = {
    probability: () => table(PROBABILITY, shown.least, (share) => 0.25 + 0.75 * share),
    density: () => table(DENSITY, 0, (share) => 0.3 + 0.7 * share),
  };
  ["backdrop", "probability", "density"].forEach((name, order) => {
    const raster = data.rasters[name];
    if (!raster) return;
    const options = {
      tileSize: frame.tile, minZoom: -24, maxZoom: 5, minNativeZoom: 1 - frame.levels, maxNativeZoom: -raster.finest,
      bounds: corners, noWrap: true, zIndex: order + 1, updateWhenZooming: false, keepBuffer: 1,
    };
    layers[name] = new Tiles(raster, tableOf[name], options);
  });

  // ---- roads -----------------------------------------------------------------------------------------------------
  const roads = data.roads;
  const Canvas = L.Canvas.extend({
    // One-way roads carry an arrow in their middle, where they are long enough on the screen.
    _updatePoly(layer, closed) {
      L.Canvas.prototype._updatePoly.call(this, layer, closed);
      if (layer.options.oneway && map.getZoom() >= -2) for (const part of layer._parts) this.arrow(part, layer.options.color);
    },
    arrow(part, colour) {
      const last = Math.ceil((part.length - 1) / 2);
      const [a, b] = [part[last - 1], part[last]];
      const length = Math.hypot(b.x - a.x, b.y - a.y);
      if (!(length > 14)) return;
      const context = this._ctx;
      const [x, y, dx, dy] = [(a.x + b.x) / 2, (a.y + b.y) / 2, (b.x - a.x) / length, (b.y - a.y) / length];
      context.beginPath();
      context.moveTo(x + 8 * dx, y + 8 * dy);
      context.lineTo(x - 5 * dx - 5 * dy, y - 5 * dy + 5 * dx);
      context.lineTo(x - 5 * dx + 5 * dy, y - 5 * dy - 5 * dx);
      context.closePath();
      context.globalAlpha = 1;
      context.fillStyle = colour;
      context.fill();
      context.lineWidth = 1;
      context.strokeStyle = "#fff";
      context.stroke();
    },
  });
  const renderer = new Canvas({ padding: 0.25, tolerance: 6 });
  const group = L.layerGroup();
  const lines = [];
  const number = (value) => typeof value === "number";
  const choices = [
    ["confidence", "confidence", [0, 1]], ["speed_kmh", "speed, km/h"], ["width_m", "width, m"],
    ["n_trips", "trips"], ["length_m", "length, m"],
  ].filter(([name]) => roads && (roads.columns[name] || []).some(number));
  let colouring = null;

  const rangeOf = ([name, , fixed]) => {
    if (fixed) return fixed;
    const values = roads.columns[name].filter(number).sort((a, b) => a - b);
    const high = values[Math.floor(0.98 * (values.length - 1))];
    return [values[0], high > values[0] ? high : values[0] + 1];
  };
  const colourOf = (index) => {
    if (!colouring) return "#2f5fd0";
    const value = roads.columns[colouring.name][index];
    if (!number(value)) return UNKNOWN;
    const [low, high] = colouring.range;
    return `rgb(${ramp(VALUES, (value - low) / (high - low)).join(",")})`;
  };
  const weight = () => (map.getZoom() < -3 ? 1.5 : map.getZoom() < -1 ? 2.5 : 4);
  const hidden = (index) => {
    const value = roads.columns.confidence ? roads.columns.confidence[index] : null;
    return number(value) && value < shown.confidence;
  };

  const attributes = (index) => {
    const rows = Object.keys(roads.columns).map((name) => {
      let value = roads.columns[name][index];
      if (name === "oneway") value = { 1: "along the line", "-1": "against the line", 0: "no" }[Number(value)] || value;
      if (name === "n_trips" && value < 0) value = null;
      return element("tr", {}, element("th", { textContent: name }),
        element("td", { textContent: value === null || value === undefined ? "not known" : String(value) }));
    });
    return element("table", { className: "attributes" }, ...rows);
  };
  let chosen = null;
  const unchoose = () => {
    if (chosen) chosen.remove();
    chosen = null;
  };
  const choose = (index, place) => {
    unchoose();
    const path = lines[index].getLatLngs();
    chosen = L.polyline(path, { renderer, color: "#111", weight: weight() + 5, opacity: 0.85, interactive: false });
    chosen.addTo(map);
    lines[index].bringToFront();
    L.popup({ maxWidth: 340 }).setLatLng(place).setContent(attributes(index)).openOn(map);
  };

  if (roads) {
    let at = 0;
    roads.points.forEach((count, index) => {
      const path = [];
      let x = 0;
      let y = 0;
      for (let i = 0; i < count; i++, at += 2) {
        x += roads.steps[at];
        y += roads.steps[at + 1];
        path.push(L.latLng(y * roads.unit, x * roads.unit));
      }
      const oneway = Boolean(roads.columns.oneway && roads.columns.oneway[index] === 1);
      const line = L.polyline(path, { renderer, weight: 2, smoothFactor: 1.5, opacity: 0.95, oneway });
      line.on("click", (event) => {
        L.DomEvent.stopPropagation(event);
        choose(index, event.latlng);
      });
      lines.push(line);
    });
    map.on("popupclose", unchoose);
  }
  const drawRoads = () => {
    const width = weight();
    lines.forEach((line, index) => {
      line.setStyle({ color: colourOf(index), weight: width });
      if (hidden(index)) group.removeLayer(line);
      else if (!group.hasLayer(line)) group.addLayer(line);
    });
  };

  let junctions = null;
  const junctionLayer = () => {
    junctions = junctions || L.layerGroup(roads.junctions.map(([x, y]) =>
      L.circleMarker([y * roads.unit, x * roads.unit], {
        renderer, radius: 3, weight: 1, color: "#111", fillColor: "#fff", fillOpacity: 1, interactive: false,
      })));
    return junctions;
  };

  if (window.innerWidth <= 560) document.querySelector("#panel details").open = false; // a phone shows the map first

  // ---- the panel -------------------------------------------------------------------------------------------------
  const percent = (value) => `${Math.round(100 * value)} %`;
  const slider = (id, label, value, change, shownAs = percent) => {
    const output = element("output", { textContent: shownAs(value) });
    const input = element("input", { type: "range", id, min: 0, max: 1, step: 0.01, value });
    input.addEventListener("input", () => {
      output.textContent = shownAs(Number(input.value));
      change(Number(input.value));
    });
    return element("label", { className: "row" }, label, input, output);
  };
  const section = (name, title, layer, on, ...rows) => {
    const box = element("input", { type: "checkbox", id: `show-${name}`, checked: on });
    box.addEventListener("change", () => (box.checked ? layer().addTo(map) : layer().remove()));
    controls.append(element("section", { id: `section-${name}` },
      element("h2", {}, element("label", {}, box, title)), ...rows));
    if (on) layer().addTo(map);
  };
  const bar = (stops) => {
    const made = element("div", { className: "ramp" });
    made.style.background = `linear-gradient(to right, ${stops.map((stop) => `rgb(${stop.join(",")})`).join(", ")})`;
    return made;
  };
  const ends = (low, high) => element("div", { className: "ends" },
    element("span", { textContent: low }), element("span", { textContent: high }));
  const short = (value) => String(Math.round(value * 10) / 10);

  const beside = window.innerWidth > 800 ? 290 : 0; // of the panel, which hides nothing at first
  map.fitBounds(corners, { animate: false, paddingBottomRight: [beside, 0] });
  map.setMinZoom(Math.floor(map.getBoundsZoom(corners)) - 2);
  map.setMaxBounds(corners.pad(0.5));

  const drawn = { probability: 0.6, density: 0.8, backdrop: 1 };
  const rasterSection = (name, title, on, ...rows) => {
    if (!layers[name]) return;
    layers[name].setOpacity(drawn[name]);
    const opacity = slider(`opacity-${name}`, "opacity", drawn[name], (value) => layers[name].setOpacity(value));
    section(name, title, () => layers[name], on, opacity, ...rows);
  };
  if (roads) {
    const legend = element("div", { id: "legend" });
    const explain = () => {
      legend.replaceChildren();
      if (!colouring) return;
      const unknown = roads.columns[colouring.name].filter((value) => !number(value)).length;
      legend.append(bar(VALUES), ends(short(colouring.range[0]), short(colouring.range[1])));
      if (unknown) legend.append(element("p", { className: "none", textContent: `not known: ${unknown} roads` }));
    };
    const select = element("select", { id: "colour-by" },
      ...choices.map(([name, label]) => element("option", { value: name, textContent: label })),
      element("option", { value: "", textContent: "one colour" }));
    const pick = () => {
      const choice = choices.find(([name]) => name === select.value);
      colouring = choice ? { name: choice[0], range: rangeOf(choice) } : null;
      explain();
      drawRoads();
    };
    select.addEventListener("change", pick);
    const rows = [element("label", { className: "row" }, "colour by", select), legend];
    if (choices.some(([name]) => name === "confidence")) {
      rows.push(slider("least-confidence", "hide below", 0, (value) => {
        shown.confidence = value;
        drawRoads();
      }));
    }
    section("roads", "roads", () => group, true, ...rows);
    pick();
    if (roads.junctions.length) section("junctions", "junctions", junctionLayer, false);
  }
  rasterSection("probability", "road probability", true,
    slider("least-probability", "hide below", shown.least, (value) => {
      shown.least = value;
      layers.probability.repaint();
    }), bar(PROBABILITY), ends("0", "1"));
  rasterSection("density", "points density", !layers.probability, bar(DENSITY), ends("few", "many"));
  rasterSection("backdrop", "backdrop", true);
  for (const note of data.notes) controls.append(element("section", {}, element("p", { className: "note", textContent: note })));

  let before = weight();
  map.on("zoomend", () => {
    if (weight() !== before && roads) drawRoads();
    before = weight();
  });

  // ---- where the pointer is --------------------------------------------------------------------------------------
  const cells = frame.lonlat.length - 1;
  const lonlat = (place) => {
    const across = Math.min(Math.max((place.lng / widthM) * cells, 0), cells);
    const down = Math.min(Math.max((-place.lat / heightM) * cells, 0), cells);
    const column = Math.min(Math.floor(across), cells - 1);
    const row = Math.min(Math.floor(down), cells - 1);
    const [u, v] = [across - column, down - row];
    const [a, b] = [frame.lonlat[row], frame.lonlat[row + 1]];
    const [lon, lat] = [0, 1].map((i) => (1 - v) * ((1 - u) * a[column][i] + u * a[column + 1][i])
      + v * ((1 - u) * b[column][i] + u * b[column + 1][i]));
    return [lon > 180 ? lon - 360 : lon < -180 ? lon + 360 : lon, lat];
  };
  const place = document.getElementById("place");
  map.on("mousemove", (event) => {
    const [lon, lat] = lonlat(event.latlng);
    const [x, y] = [frame.x0 + event.latlng.lng, frame.y1 + event.latlng.lat];
    place.textContent = `${lat.toFixed(6)}, ${lon.toFixed(6)} · ${x.toFixed(1)}, ${y.toFixed(1)} ${frame.crs.slice(0, 24)}`;
  });
  map.on("mouseout", () => (place.textContent = ""));

  window.roadedge = { map, lines, layers, group, lonlat };
})();
