'use strict';
// The page to try the API: made from the OpenAPI document, with nothing from elsewhere.
const at = (id) => document.getElementById(id);
const make = (tag, text, ...children) => {
  const e = document.createElement(tag);
  if (text) e.textContent = text;
  e.append(...children);
  return e;
};

let doc;
const deref = (schema) => (schema && schema.$ref ? schema.$ref.split('/').slice(1).reduce((o, k) => o[k], doc) : schema) || {};
const typeOf = (schema) => {
  const s = deref(schema);
  if (s.enum) return s.enum.join(' | ');
  const t = [].concat(s.type || 'any').filter((x) => x !== 'null').join(' | ');
  return t === 'array' ? `${typeOf(s.items)}[]` : t;
};

// example is a value that has the schema's required members, to be filled in.
const example = (schema, depth = 0) => {
  const s = deref(schema);
  const t = [].concat(s.type || 'object')[0];
  if (s.enum) return s.enum[0];
  if (t === 'object') {
    const out = {};
    for (const name of s.required || []) if (depth < 6) out[name] = example((s.properties || {})[name], depth + 1);
    return out;
  }
  return { string: '', integer: 0, number: 0, boolean: false, array: [] }[t] ?? null;
};

const members = (schema) => {
  const s = deref(schema);
  return make('table', '', ...Object.entries(s.properties || {}).map(([name, p]) => make('tr', '',
    make('td', '', make('code', name + ((s.required || []).includes(name) ? ' *' : ''))), make('td', typeOf(p)), make('td', p.description || deref(p).description || ''))));
};

function operation(path, method, op) {
  const box = make('details');
  box.dataset.words = `${op.operationId} ${path} ${op.summary || ''}`.toLowerCase();
  box.append(make('summary', '', make('b', method.toUpperCase()), make('code', path), ` ${op.summary || ''}`));
  box.addEventListener('toggle', () => {
    if (!box.open || box.dataset.filled) return;
    box.dataset.filled = 'yes';
    const fields = (op.parameters || []).map((p) => {
      const input = make('input');
      input.name = p.name;
      input.placeholder = p.description || '';
      return [p, input];
    });
    fields.forEach(([p, input]) => box.append(make('label', `${p.name}${p.required ? ' *' : ''} (${p.in}, ${typeOf(p.schema)})`, input)));
    const schema = op.requestBody?.content?.['application/json']?.schema;
    const body = make('textarea');
    if (schema) {
      body.value = JSON.stringify(example(schema), null, 2);
      body.setAttribute('aria-label', 'body');
      box.append(members(schema), body);
    }
    const send = make('button', 'Call');
    const answer = make('pre');
    answer.hidden = true;
    send.addEventListener('click', async () => {
      send.disabled = true;
      answer.hidden = false;
      answer.className = '';
      answer.textContent = '…';
      try {
        let where = path;
        const query = new URLSearchParams();
        for (const [p, input] of fields) {
          if (p.in === 'path') where = where.replace(`{${p.name}}`, encodeURIComponent(input.value));
          else if (p.in === 'query' && input.value) input.value.split(',').forEach((v) => query.append(p.name, v));
        }
        const headers = { Accept: 'application/json' };
        if (at('token').value) headers.Authorization = `Bearer ${at('token').value.trim()}`;
        for (const [p, input] of fields) if (p.in === 'header' && input.value) headers[p.name] = input.value;
        if (schema) headers['Content-Type'] = 'application/json';
        const response = await fetch(where + (query.size ? `?${query}` : ''), { method: method.toUpperCase(), headers, body: schema ? body.value : undefined });
        const kind = response.headers.get('Content-Type') || '';
        const text = kind.includes('event-stream') ? 'a stream of events; follow it with conclave watch or curl -N' : await response.text();
        if (kind.includes('event-stream')) response.body.cancel();
        answer.className = response.ok ? '' : 'bad';
        answer.textContent = `${response.status} ${response.statusText}\n${kind.includes('json') ? JSON.stringify(JSON.parse(text), null, 2) : text}`;
      } catch (err) {
        answer.className = 'bad';
        answer.textContent = String(err);
      }
      send.disabled = false;
    });
    box.append(send, answer);
  });
  return box;
}

fetch('/api/openapi.json').then((r) => r.json()).then((d) => {
  doc = d;
  at('title').textContent = `${d.info.title} API ${d.info.version}`;
  const list = [];
  for (const [path, methods] of Object.entries(d.paths)) {
    for (const [method, op] of Object.entries(methods)) if (op.operationId) list.push(operation(path, method, op));
  }
  at('operations').replaceChildren(...list);
}).catch((err) => at('operations').replaceChildren(make('p', `The description of the API can't be read: ${err}`)));

at('find').addEventListener('input', () => {
  const words = at('find').value.toLowerCase().split(/\s+/);
  for (const box of document.querySelectorAll('details')) box.hidden = !words.every((w) => box.dataset.words.includes(w));
});
