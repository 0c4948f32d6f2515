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
const since = (t) => String(t).startsWith('0001-') ? '' : new Date(t).toLocaleString('sv');
const clock = (t) => since(t).slice(11) + '.' + String(new Date(t).getMilliseconds()).padStart(3, '0');

function make(tag, text, cls) {
  const e = document.createElement(tag);
  e.textContent = text ?? '';
  if (cls) e.className = cls;
  return e;
}

// table fills a table: columns have a heading, what is in a row's cell, and perhaps its colour and how wide it is:
// short is never wrapped, text is a sentence, and may be empty in all rows, which leaves the column out. more is said
// below the rows. A table that has not changed is left alone, so that what somebody has marked in it stays marked.
const shown = {};
function table(id, rows, columns, more = rows.length === 0 ? 'none' : '') {
  const is = JSON.stringify([rows, more]);
  if (shown[id] === is) return;
  shown[id] = is;
  columns = columns.filter(([, cell, , width]) => width !== 'text' || rows.some(cell));
  const head = make('tr');
  head.append(...columns.map(([heading]) => make('th', heading)));
  const lines = rows.map((row) => {
    const tr = make('tr');
    tr.append(...columns.map(([, cell, paint, width]) => make('td', cell(row), [paint?.(row), width].join(' ').trim())));
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

const named = (x) => x.name === x.peer ? x.peer : `${x.peer} ${x.name}`;

// sessionColour is red for a session that is down, yellow for one that is on its way or that BFD does not watch
// as it should. One that is down changes its state with each attempt, and not its colour.
function sessionColour(x) {
  if (x.state === 'Established') return colour(x.bfd) || 'good';
  return x.bfd === 'Down' || x.error ? 'bad' : colour(x.state);
}

// draw makes the picture: the host, a box for each fabric, and a line to each peer, as wide as there is room.
function draw(s) {
  const svg = byID('picture'), parts = [];
  const many = s.sessions.length > 12, step = many ? 24 : 34;
  const width = Math.min(1000, Math.max(460, svg.clientWidth)), at = (part) => Math.round(part * width);
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
  // label cuts a text to the room that it has; all of it is in its title.
  const label = (x, y, room, text, anchor) => {
    const most = Math.floor(room / 7.2);
    const cut = text.length > most;
    add('text', {x, y, 'text-anchor': anchor}, cut ? text.slice(0, most - 1) + '…' : text, cut ? text : '');
  };
  const box = (x, y, width, height, text, cls) => {
    add('rect', {x, y, width, height, rx: 5, class: cls});
    label(x + width / 2, y + height / 2 + 4, width - 6, text, 'middle');
  };
  const top = 8, fabrics = Map.groupBy(s.sessions, (x) => x.fabric);
  const height = top + Math.max(3, s.sessions.length) * step;
  const hostAt = many ? 40 : height / 2; // in sight, however long the picture is
  const [host, left, right, peers, end] = [at(0.2), at(0.33), at(0.47), at(0.66), at(0.99)];
  box(at(0.01), hostAt - 22, host - at(0.01), 44, s.host, s.error ? 'bad' : colour(s.health.state));
  label(host / 2, hostAt + 38, host, `${s['guests-present']} of ${s['guests-total']} guests`, 'middle');
  let y = top;
  for (const [fabric, list] of fabrics) {
    const middle = y + list.length * step / 2;
    const worst = ['bad', 'wait', 'good'].find((c) => list.some((x) => sessionColour(x) === c));
    add('line', {x1: host, y1: hostAt, x2: left, y2: middle, class: worst ?? ''});
    box(left, y + 3, right - left, list.length * step - 6, fabric || 'no fabric', '');
    for (const x of list) {
      const row = y + step / 2, cls = sessionColour(x);
      add('line', {x1: right, y1: row, x2: peers, y2: row, class: cls, 'data-peer': x.peer}, '', `${x.peer} on ${x.interface}: ${x.state}, BFD ${x.bfd}`);
      label(right + 8, row - 4, peers - right - 8, x.interface, 'start');
      box(peers, y + (many ? 2 : 5), end - peers, step - (many ? 4 : 10), named(x), cls);
      y += step;
    }
  }
  svg.setAttribute('viewBox', `0 0 ${width} ${height + 10}`);
  svg.replaceChildren(...parts);
}

// says shows what is wrong with the page itself, '' for nothing. What was known stays, and is grey.
function says(text) {
  byID('error').hidden = !text;
  byID('error').textContent = text;
  document.querySelector('main').className = text ? 'old' : '';
  if (text) document.title = `${byID('host').textContent || 'hvrouter'}: no answer`;
}

const mostReasons = 8;

let last; // state that is shown
function show(s) {
  last = s;
  byID('host').textContent = s.host;
  says(s.error ? `The daemon does not answer: ${s.error}. What follows is of before.` : '');
  document.title = `${s.host}: ${s.error ? 'no answer' : s.health.state}`;
  byID('health').textContent = s.error ? 'no answer' : s.health.state;
  byID('health').className = 'state ' + (s.error ? 'bad' : colour(s.health.state));
  byID('summary').textContent = `daemon since ${since(s.started)}, ${s['kernel-writes']} kernel writes; times are those of ${Intl.DateTimeFormat().resolvedOptions().timeZone}, where the browser is`;
  const reasons = s.health.reasons ?? [];
  byID('reasons').replaceChildren(...reasons.slice(0, mostReasons).map((r) => make('li', `${r.level}: ${r.kind}: ${r.text}`, colour(r.level))));
  if (reasons.length > mostReasons) byID('reasons').append(make('li', `and ${reasons.length - mostReasons} more: hvrouter show health`));
  draw(s);
  table('sessions', s.sessions, [
    ['Peer', named],
    ['State', (x) => x.state, (x) => colour(x.state) && sessionColour({...x, bfd: ''})], ['BFD', (x) => x.bfd, (x) => colour(x.bfd)], ['Since', (x) => since(x.since), null, 'short'],
    ['Domain', (x) => x.domain], ['Fabric', (x) => x.fabric], ['Interface', (x) => x.interface],
    ['Received', (x) => x.received], ['Stale', (x) => x.stale ?? 0], ['Advertised', (x) => x.advertised],
    ['Last error', (x) => x.state === 'Established' ? '' : x.error ?? '', null, 'text'],
  ]);
  table('bfd', s.bfd, [
    ['Peer', (x) => x.peer], ['Interface', (x) => x.interface], ['State', (x) => x.state, (x) => colour(x.state)], ['Since', (x) => since(x.since), null, 'short'],
    ['Detection', (x) => x.detect], ['Times down', (x) => x.downs], ['Last reason', (x) => x.reason],
  ]);
  table('events', s.events, [
    ['Time', (x) => clock(x.time), null, 'short'], ['Level', (x) => x.level, (x) => colour(x.level)], ['Event', (x) => x.event, null, 'short'],
    ['', (x) => Object.entries(x.attrs ?? {}).sort().map(([k, v]) => `${k}=${v}`).join('  ') || x.message, null, 'text'],
  ]);
  table('guests', s.guests, [
    ['Name', (x) => x.name], ['Interface', (x) => x.interface], ['State', (x) => x.state, (x) => colour(x.state)],
    ['Why', (x) => x.why ?? '', null, 'text'], ['Addresses', (x) => x.addresses.join(', '), null, 'text'],
  ], s['guests-total'] === 0 ? 'none' : s.guests.length < s['guests-total'] ? `and ${s['guests-total'] - s.guests.length} more` : '');
}

// Something comes every 15 s at least. A connection that has died without a word (a tunnel of ssh whose network has
// gone) is not told of by the browser.
const patience = 40e3, again = 3e3;

let source, heard, full = '';
function open() {
  source?.close();
  heard = Date.now();
  source = new EventSource('state'); // it connects again by itself, unless it is refused
  source.onmessage = (m) => {
    heard = Date.now();
    full = '';
    show(JSON.parse(m.data));
  };
  source.addEventListener('alive', () => { heard = Date.now(); });
  source.addEventListener('full', (m) => says(full = m.data));
  source.onerror = () => says(full || '`hvrouter web` does not answer. What follows is of before.');
}

setInterval(() => {
  if (source.readyState === EventSource.OPEN && Date.now() - heard > patience) {
    says(`Nothing has come since ${clock(heard).slice(0, 8)}. What follows is of before.`);
    open();
  } else if (source.readyState === EventSource.CLOSED) {
    open();
  }
}, again);
addEventListener('resize', () => last && draw(last));
open();
