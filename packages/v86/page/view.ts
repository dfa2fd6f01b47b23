import type { ITheme } from '@xterm/xterm';

/** An element of index.html by its id. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  // The caller knows index.html.
  return found as T;
}

/** Shows how far it is, and that in a word for the light beside it. */
export function setStatus(state: 'loading' | 'booting' | 'ready' | 'failed', text: string): void {
  const status = element('status');
  status.dataset.state = state;
  status.textContent = text;
}

/** Adds a line to the list of devices. */
export function addDevice(name: string, slot: number | undefined): void {
  const item = document.createElement('li');
  const where = document.createElement('span');
  where.textContent = `00:${(slot ?? 0).toString(16).padStart(2, '0')}.0`;
  item.append(name, where);
  element('devices').append(item);
}

/** The terminal's colours, after those of the page. */
export function terminalTheme(): ITheme {
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  return dark
    ? { background: '#1f2228', foreground: '#e4e6ea', cursor: '#5fd3a6' }
    : {
        background: '#ffffff',
        foreground: '#1c1e21',
        cursor: '#0b6b4f',
        selectionBackground: '#cfe8de',
        green: '#0b6b4f',
        brightGreen: '#0b6b4f',
        blue: '#2456a6',
        brightBlue: '#2456a6',
        yellow: '#7a5a00',
        brightYellow: '#7a5a00',
      };
}
