/* Table cells: text, state, link, bar and line. Each is a few DOM nodes, so that a hundred rows stay light. */
(function () {
  "use strict";
  const cells = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});
  const h = (...parts) => window.React.createElement(...parts);
  const shown = (props) => {
    const text = props.data && props.data[props.colDef.field + "_t"];
    return text !== undefined ? text : props.value;
  };

  cells.NsText = (props) =>
    h("span", { title: (props.data && props.data[props.colDef.field + "_h"]) || undefined }, shown(props));

  const ICONS = { bad: "\u2B22", warn: "\u25B2", plain: "\u2713", empty: "?" };

  cells.NsState = (props) => {
    const level = props.value || "empty";
    return h("span", { className: "ns-state is-" + level },
      h("span", { "aria-hidden": true, className: "ns-icon" }, ICONS[level] || "?"), " " + props.data.state_t);
  };

  cells.NsModel = (props) =>
    h("span", { className: "ns-model" },
      h("a", { href: "/model/" + encodeURIComponent(props.data.id) + (props.data.search || ""), "data-nav": "keep", title: props.value }, props.value),
      props.data.simulated ? h("span", { className: "ns-badge is-shown" }, "simulated") : null);

  cells.NsBar = (props) => {
    const value = props.value;
    if (value === null || value === undefined) { return h("span", { className: "ns-muted" }, shown(props) || "-"); }
    const level = props.data.idle ? "idle" : props.colDef.field === "budget" && value <= 0 ? "bad" : props.colDef.field === "budget" && value < 0.25 ? "warn" : "plain";
    const width = Math.max(0, Math.min(1, value)) * 100;
    return h("span", { className: "ns-bar is-" + level },
      h("span", { className: "ns-bar-track", "aria-hidden": true }, h("span", { style: { width: width + "%" } })),
      h("span", { className: "ns-bar-text" }, shown(props)));
  };

  cells.NsSpark = (props) => {
    const values = props.value || [];
    const top = Math.max(...values.filter((value) => value !== null), 0) || 1;
    const width = 96, height = 20;
    let path = "", pen = "M", last = null;
    values.forEach((value, place) => {
      if (value === null) { pen = "M"; return; }
      const x = (place * (width - 4)) / Math.max(1, values.length - 1);
      const y = height - 2 - (value / top) * (height - 4);
      path += pen + x.toFixed(1) + " " + y.toFixed(1);
      pen = "L";
      last = [x, y];
    });
    return h("svg", { className: "ns-cell-spark", width: width, height: height, "aria-hidden": true },
      h("path", { d: path, fill: "none" }), last ? h("circle", { cx: last[0], cy: last[1], r: 2 }) : null);
  };
})();
