// Renders the API's own description. Everything is set as text, so nothing in it can become markup.
"use strict";

const routes = document.getElementById("routes");

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

function parameters(list) {
  const rows = list.map((one) => {
    const kind = one.schema?.items?.type ?? one.schema?.type ?? "string";
    return element("tr", null, element("td", null, element("code", one.name)), element("td", String(kind)), element("td", one.description ?? ""));
  });
  return element("table", null, ...rows);
}

function describe(spec) {
  routes.textContent = "";
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const part = element("section", null, element("h2", `${method.toUpperCase()} ${path}`));
      part.append(element("p", [route.summary, route.description].filter(Boolean).join(" ")));
      if (route.parameters?.length) part.append(parameters(route.parameters));
      const answers = Object.entries(route.responses ?? {}).map(([status, answer]) => element("li", `${status}: ${answer.description}`));
      part.append(element("ul", null, ...answers));
      routes.append(part);
    }
  }
}

fetch("api/v1/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`the server answered ${answer.status}`))))
  .then(describe)
  .catch((error) => { routes.textContent = `The description could not be read: ${error.message}.`; });
