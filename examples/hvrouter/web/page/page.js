// Shows what /state sends. Everything that comes from there is put in as text, never as markup.
'use strict';

const colours = {
  Established: 'good', Up: 'good', present: 'good', healthy: 'good', off: '',
  OpenSent: 'wait', OpenConfirm: 'wait', Connect: 'wait', Active: 'wait', Init: 'wait', AdminDown: 'wait',
  absent: 'wait', degraded: 'wait', WARN: 'wait',
  Idle: 'bad', Down: 'bad', refused: 'bad', broken: 'bad', ERROR: 'bad',
};
const colour = (word) => colours[word] ?? '';
const byID = (id) => document.getElementById(id);
// Swedish is written as RFC 3339 is: 2026-11-30 07:00:00.
const since = (t) => t.startsWith('0001-') ? '' : new Date(t).toLocaleString('sv');
const clock = (t) => since(t).slice(11) + '.' + String(new Date(t).getMilliseconds()).padStart(3, '0');

function make(tag, text, cls) {
  const e = document.createElement(tag);
  e.textContent = text ?? '';
  if (cls) e.className = cls;
  return e;
}

// table fills a table: columns have a heading, what is in a row's cell, and perhaps its colour. more is said
// below the rows.
function table(id, rows, columns, more = rows.length === 0 ? 'none' : '') {
  const head = make('tr');
  head.append(...columns.map(([heading]) => make('th', heading)));
  const lines = rows.map((row) => {
    const tr = make('tr');
    tr.append(...columns.map(([, cell, paint]) => make('td', cell(row), paint?.(row))));
    return tr;
  });
  if (more) {
    const td = make('td', more), tr = make('tr');
    td.colSpan = columns.length;
    tr.append(td);
    lines.push(tr);
  }
  byID(id).replaceChildren(head, ...lines);
}

// draw makes the picture: the host, a box for each fabric, and a line to each peer.
function draw(s) {
  const svg = byID('picture'), step = 34, parts = [];
  const add = (tag, attributes, text, title) => {
    const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    if (text) e.textContent = text;
    if (title) {
      const t = document.createElementNS('http://www.w3.org/2000/svg', 'title');
      t.textContent = title;
      e.append(t);
    }
    parts.push(e);
  };
  const box = (x, y, width, height, text, cls) => {
    add('rect', {x, y, width, height, rx: 5, class: cls});
    add('text', {x: x + width / 2, y: y + height / 2 + 4, 'text-anchor': 'middle'}, text);
  };
  const fabrics = Map.groupBy(s.sessions, (x) => x.fabric);
  const height = Math.max(2, s.sessions.length) * step;
  box(10, height / 2 - 22, 190, 44, s.host, s.error ? 'bad' : colour(s.health.state));
  add('text', {x: 105, y: height / 2 + 38, 'text-anchor': 'middle'}, `${s['guests-present']} of ${s['guests-total']} guests`);
  let y = 0;
  for (const [fabric, list] of fabrics) {
    const middle = y + list.length * step / 2;
    const worst = ['bad', 'wait', 'good'].find((c) => list.some((x) => colour(x.state) === c || colour(x.bfd) === c));
    add('line', {x1: 200, y1: height / 2, x2: 390, y2: middle, class: worst ?? ''});
    box(390, y + 4, 130, list.length * step - 8, fabric || 'no fabric', '');
    for (const x of list) {
      const at = y + step / 2;
      const cls = x.state === 'Established' ? colour(x.bfd) || 'good' : colour(x.state);
      add('line', {x1: 520, y1: at, x2: 700, y2: at, class: cls, 'data-peer': x.peer}, '', `${x.peer} on ${x.interface}: ${x.state}, BFD ${x.bfd}`);
      add('text', {x: 530, y: at - 5}, x.interface);
      box(700, y + 5, 290, step - 10, x.name === x.peer ? x.peer : `${x.name} (${x.peer})`, cls);
      y += step;
    }
  }
  svg.setAttribute('viewBox', `0 0 1000 ${height + 10}`);
  svg.replaceChildren(...parts);
}

function show(s) {
  document.title = `${s.host}: ${s.error ? 'no answer' : s.health.state}`;
  document.body.className = s.error ? 'old' : '';
  byID('host').textContent = s.host;
  byID('health').textContent = s.error ? 'no answer' : s.health.state;
  byID('health').className = 'state ' + (s.error ? 'bad' : colour(s.health.state));
  byID('summary').textContent = `daemon since ${since(s.started)}, ${s['kernel-writes']} kernel writes`;
  byID('error').hidden = !s.error;
  byID('error').textContent = s.error ? `The daemon does not answer: ${s.error}. What follows is of before.` : '';
  byID('reasons').replaceChildren(...(s.health.reasons ?? []).map((r) => make('li', `${r.level}: ${r.kind}: ${r.text}`, colour(r.level))));
  draw(s);
  table('sessions', s.sessions, [
    ['Peer', (x) => x.peer], ['Name', (x) => x.name === x.peer ? '' : x.name], ['Domain', (x) => x.domain], ['Fabric', (x) => x.fabric], ['Interface', (x) => x.interface],
    ['State', (x) => x.state, (x) => colour(x.state)], ['BFD', (x) => x.bfd, (x) => colour(x.bfd)], ['Since', (x) => since(x.since)],
    ['Received', (x) => x.received], ['Stale', (x) => x.stale ?? 0], ['Advertised', (x) => x.advertised], ['Last error', (x) => x.error],
  ]);
  table('bfd', s.bfd, [
    ['Peer', (x) => x.peer], ['Interface', (x) => x.interface], ['State', (x) => x.state, (x) => colour(x.state)], ['Since', (x) => since(x.since)],
    ['Detection', (x) => x.detect], ['Times down', (x) => x.downs], ['Last reason', (x) => x.reason],
  ]);
  table('guests', s.guests, [
    ['Name', (x) => x.name], ['Interface', (x) => x.interface], ['State', (x) => x.state, (x) => colour(x.state)],
    ['Addresses', (x) => x.addresses.join(', ')], ['Why', (x) => x.why],
  ], s['guests-total'] === 0 ? 'none' : s.guests.length < s['guests-total'] ? `and ${s['guests-total'] - s.guests.length} more` : '');
  table('events', s.events, [
    ['Time', (x) => clock(x.time)], ['Level', (x) => x.level, (x) => colour(x.level)], ['Event', (x) => x.event],
    ['', (x) => Object.entries(x.attrs ?? {}).sort().map(([k, v]) => `${k}=${v}`).join('  ') || x.message],
  ]);
}

const source = new EventSource('state'); // it connects again by itself
source.onmessage = (m) => show(JSON.parse(m.data));
source.onerror = () => {
  byID('error').hidden = false;
  byID('error').textContent = '`hvrouter web` does not answer. What follows is of before.';
  document.body.className = 'old';
};
