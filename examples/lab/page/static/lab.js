// A button for each experiment, what they print, and the pages of the hypervisors.
'use strict';

const byID = (id) => document.getElementById(id);

function begin(lab) {
  byID('buttons').replaceChildren(...lab.experiments.map(({name, title}) => {
    const b = document.createElement('button');
    b.textContent = name;
    b.title = title;
    b.id = 'run-' + name;
    b.onclick = () => fetch('run/' + name, {method: 'POST'}).then(look);
    return b;
  }));
  byID('routers').replaceChildren(...lab.routers.map((name) => {
    const frame = document.createElement('iframe');
    frame.src = name + '/';
    frame.title = name;
    return frame;
  }));
}

async function look() {
  try {
    const lab = await (await fetch('lab')).json();
    byID('error').hidden = true;
    if (byID('buttons').childElementCount === 0) begin(lab);
    for (const b of byID('buttons').children) {
      b.disabled = lab.busy !== '';
      b.className = b.textContent === lab.busy ? 'running' : '';
    }
    const lines = byID('lines'), text = lab.lines.join('\n');
    if (lines.textContent !== text) {
      lines.textContent = text;
      lines.scrollTop = lines.scrollHeight;
    }
  } catch {
    byID('error').hidden = false;
  }
}

setInterval(look, 500);
look();
