"use strict";
// The documentation of the REST interface, from openapi.json.

const made = (tag, text, className = "") => Object.assign(document.createElement(tag), { textContent: text, className });

function example(schema, all, depth = 0) {
  if (!schema || depth > 6) return null;
  if (schema.$ref) return example(all[schema.$ref.split("/").pop()], all, depth + 1);
  if (schema.examples) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (schema.anyOf || schema.oneOf) return example((schema.anyOf || schema.oneOf)[0], all, depth + 1);
  if (schema.type === "object") return Object.fromEntries(Object.entries(schema.properties || {}).map(([name, s]) => [name, example(s, all, depth + 1)]));
  if (schema.type === "array") return [example(schema.items || schema.prefixItems?.[0], all, depth + 1)];
  return { string: "", integer: schema.minimum ?? 0, number: schema.minimum ?? 0, boolean: false }[schema.type] ?? null;
}

fetch("/openapi.json").then((answer) => answer.json()).then((openapi) => {
  const schemas = openapi.components?.schemas || {};
  for (const [path, methods] of Object.entries(openapi.paths)) {
    for (const [method, about] of Object.entries(methods)) {
      const section = document.createElement("section");
      section.append(made("h2", `${method.toUpperCase()} ${path}`), made("p", about.summary || ""));
      for (const parameter of about.parameters || []) section.append(made("p", `${parameter.in} ${parameter.name}: ${parameter.schema.type || ""}`, "soft"));
      const body = about.requestBody?.content?.["application/json"]?.schema;
      const bodies = body?.oneOf || (body ? [body] : []);
      for (const one of bodies) section.append(made("pre", JSON.stringify(example(one, schemas), null, 1)));
      document.getElementById("paths").append(section);
    }
  }
});
