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
    const schema = one.schema?.items ?? one.schema ?? {};
    const told = [one.description, schema.enum?.join(", "), schema.pattern].filter(Boolean).join(" ");
    return element("tr", null, element("td", null, element("code", one.name)), element("td", String(schema.type ?? "string")), element("td", told));
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

// The token that the dashboard was given in this tab: a link of it led here.
const token = sessionStorage.getItem("wireproof-token");

function refused(status) {
  const signIn = "this server wants its token: give it to the dashboard, and follow its link to this page";
  return Promise.reject(new Error(status === 401 ? signIn : `the server answered ${status}`));
}

fetch("api/v1/openapi.json", { headers: token === null ? {} : { authorization: `Bearer ${token}` } })
  .then((answer) => (answer.ok ? answer.json() : refused(answer.status)))
  .then(describe)
  .catch((error) => { routes.textContent = `The description could not be read: ${error.message}.`; });
