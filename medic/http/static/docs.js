// Shows /openapi.json, and sends requests to this same Medic. No other script, no other host.
"use strict";

let description = null;

function make(tag, text, attributes) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  return element;
}

// A sentence of the description: what stands between backticks is code.
function prose(tag, text) {
  const element = make(tag);
  for (const [place, part] of String(text || "").split("`").entries()) element.append(place % 2 ? make("code", part) : part);
  return element;
}

function resolved(schema) {
  if (!schema || !schema.$ref) return schema || {};
  return description.components.schemas[schema.$ref.split("/").pop()] || {};
}

function kindOf(schema) {
  const whole = resolved(schema);
  if (whole.anyOf) return whole.anyOf.map(kindOf).join(" or ");
  if (whole.enum) return whole.enum.map((value) => JSON.stringify(value)).join(", ");
  if (whole.const !== undefined) return JSON.stringify(whole.const);
  if (whole.type === "array") return "list of " + kindOf(whole.items);
  if (Array.isArray(whole.type)) return whole.type.join(" or ");
  return whole.title && whole.properties ? whole.title : whole.type || "anything";
}

// A sixtieth is 0.0166667 to a reader; the check itself is exact.
function short(bound) {
  return Number.isInteger(bound) ? bound : Number(bound.toPrecision(6));
}

function boundsOf(schema) {
  const parts = (resolved(schema).anyOf || [schema]).map(resolved);
  const found = [];
  for (const part of parts) {
    if (part.minimum !== undefined && part.maximum !== undefined) found.push(`${short(part.minimum)} to ${short(part.maximum)}`);
    else if (part.minimum !== undefined) found.push(`at least ${short(part.minimum)}`);
    else if (part.maximum !== undefined) found.push(`at most ${short(part.maximum)}`);
    if (part.maxLength !== undefined) found.push(`${part.minLength || 0} to ${part.maxLength} characters`);
  }
  return found.join("; ");
}

function aboutOf(schema) {
  const whole = resolved(schema);
  const parts = [schema.description || whole.description];
  for (const part of whole.anyOf || []) parts.push(resolved(part).description);
  return [...new Set(parts.filter(Boolean))].join(" ");
}

function fieldTable(rows) {
  const table = make("table");
  const head = table.appendChild(make("tr"));
  for (const title of ["Name", "Kind", "Bounds", "Meaning"]) head.append(make("th", title));
  for (const row of rows) {
    const line = table.appendChild(make("tr"));
    const name = line.appendChild(make("td"));
    name.append(make("code", row.name, row.required ? { class: "required" } : {}));
    line.append(make("td", row.kind), make("td", row.bounds), prose("td", row.about));
  }
  return table;
}

function fieldsOf(schema) {
  const whole = resolved(schema);
  const required = new Set(whole.required || []);
  return Object.entries(whole.properties || {}).map(([name, field]) => ({
    name, required: required.has(name), kind: kindOf(field), bounds: boundsOf(field), about: aboutOf(field),
  }));
}

function exampleOf(schema, depth) {
  const whole = resolved(schema);
  if (whole.examples) return whole.examples[0];
  if (whole.default !== undefined && whole.default !== null) return whole.default;
  if (whole.anyOf) return exampleOf(whole.anyOf[0], depth);
  if (whole.enum) return whole.enum[0];
  if (whole.const !== undefined) return whole.const;
  if (whole.type === "array") return depth > 4 ? [] : [exampleOf(whole.items, depth + 1)];
  if (whole.properties) {
    return Object.fromEntries(Object.entries(whole.properties).map(([name, field]) => [name, exampleOf(field, depth + 1)]));
  }
  if (whole.type === "object") return {};
  if (whole.type === "integer" || whole.type === "number") return Math.max(1, whole.minimum || 0);
  return whole.format === "date-time" ? "2026-01-01T00:00:00.000Z" : "text";
}

function bodyExample(schema) {
  const whole = resolved(schema);
  const wanted = whole.required || Object.keys(whole.properties || {}).slice(0, 1);
  return JSON.stringify(Object.fromEntries(wanted.map((name) => [name, exampleOf(whole.properties[name], 0)])), null, 2);
}

function tryForm(method, path, operation) {
  const form = make("form");
  const inputs = [];
  for (const parameter of operation.parameters || []) {
    const label = make("label", `${parameter.name} (${parameter.in})`);
    const input = make("input", null, { type: "text", name: parameter.name });
    input.required = parameter.in === "path";
    label.append(input);
    form.append(label);
    inputs.push([parameter, input]);
  }
  let body = null;
  if (operation.requestBody) {
    body = make("textarea", bodyExample(operation.requestBody.content["application/json"].schema), { rows: "6" });
    form.append(make("h3", "Body"), body);
  }
  const output = make("pre", "");
  form.append(make("button", "Send", { type: "submit" }), output);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let target = path;
    const query = new URLSearchParams();
    const headers = {};
    const key = document.getElementById("key").value.trim();
    if (key) headers.Authorization = `Bearer ${key}`;
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value !== "" && parameter.in === "query") query.set(parameter.name, input.value);
      else if (input.value !== "") headers[parameter.name] = input.value;
    }
    const address = query.size ? `${target}?${query}` : target;
    try {
      const answer = await fetch(address, { method, headers, body: body && body.value !== "" ? body.value : undefined });
      const text = await answer.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
      output.textContent = `${method} ${address}\n${answer.status} ${answer.statusText}\n\n${shown.slice(0, 100000)}`;
    } catch (error) {
      output.textContent = `${method} ${address}\n${error}`;
    }
  });
  return form;
}

function routeOf(method, path, operation) {
  const route = make("details", null, { class: "route", id: operation.operationId });
  const head = route.appendChild(make("summary"));
  head.append(make("span", method, { class: "method" }), make("code", path), make("span", operation.summary, { class: "summary" }));
  const inside = route.appendChild(make("div"));
  route.addEventListener("toggle", () => {
    if (!route.open || inside.childElementCount) return;
    if (operation.description) inside.append(prose("p", operation.description));
    if (operation.parameters) {
      inside.append(make("h3", "Parameters"), fieldTable(operation.parameters.map((parameter) => ({
        name: parameter.name, required: parameter.required, kind: `${kindOf(parameter.schema)} (${parameter.in})`,
        bounds: boundsOf(parameter.schema), about: parameter.description,
      }))));
    }
    if (operation.requestBody) {
      inside.append(make("h3", "Body"), fieldTable(fieldsOf(operation.requestBody.content["application/json"].schema)));
    }
    inside.append(make("h3", "Answers"));
    for (const [status, answer] of Object.entries(operation.responses)) {
      const content = (answer.content || {})["application/json"];
      const part = inside.appendChild(make("details"));
      part.append(prose("summary", `${status}: ${answer.description}`));
      if (content) part.append(make("pre", JSON.stringify(exampleOf(content.schema, 0), null, 2)));
    }
    inside.append(make("h3", "Try it"), tryForm(method, path, operation));
  });
  return route;
}

function show() {
  document.getElementById("version").textContent = description.info.version;
  const about = document.getElementById("about");
  for (const paragraph of description.info.description.split("\n\n")) about.append(prose("p", paragraph));
  const routes = document.getElementById("routes");
  routes.replaceChildren();
  for (const tag of description.tags) {
    const section = routes.appendChild(make("section"));
    section.append(make("h2", tag.name));
    for (const [path, methods] of Object.entries(description.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags.includes(tag.name)) section.append(routeOf(method.toUpperCase(), path, operation));
      }
    }
  }
  document.getElementById("search").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const route of document.querySelectorAll("details.route")) {
      route.hidden = !route.firstElementChild.textContent.toLowerCase().includes(wanted);
    }
    for (const section of document.querySelectorAll("section")) {
      section.hidden = !section.querySelector("details.route:not([hidden])");
    }
  });
  if (location.hash) {
    const named = document.getElementById(location.hash.slice(1));
    if (named) { named.open = true; named.scrollIntoView(); }
  }
}

fetch("/openapi.json").then((answer) => answer.json()).then((answer) => { description = answer; show(); }).catch((error) => {
  document.getElementById("routes").replaceChildren(make("p", `/openapi.json could not be read: ${error}`));
});
