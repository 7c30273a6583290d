/** Line icons on a grid of 24. */
const SHAPES = {
  microphone:
    '<rect x="9" y="3" width="6" height="11" rx="3"/><path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3"/>',
  microphoneOff:
    '<path d="M9 9.5V6a3 3 0 0 1 5.8-1M15 10.5v.5a3 3 0 0 1-4.6 2.5M5.5 11.5a6.5 6.5 0 0 0 10 5.5M18.5 11.5a6.5 6.5 0 0 1-.6 2.7M12 18v3M4 3.5l16 17"/>',
  camera:
    '<rect x="2.5" y="6" width="13" height="12" rx="3"/><path d="m15.5 10.6 4.6-2.9a.9.9 0 0 1 1.4.8v7a.9.9 0 0 1-1.4.8l-4.6-2.9"/>',
  cameraOff:
    '<path d="M9.5 6h3a3 3 0 0 1 3 3v1.6l4.6-2.9a.9.9 0 0 1 1.4.8v7a.9.9 0 0 1-1.4.8l-4-2.5M15 16.6a3 3 0 0 1-2.5 1.4h-7a3 3 0 0 1-3-3V9a3 3 0 0 1 2.6-3M3.5 3.5l17 17"/>',
  screen:
    '<rect x="2.5" y="4" width="19" height="13" rx="2.5"/><path d="M8 21h8M12 13.5v-6M9.3 10 12 7.3l2.7 2.7"/>',
  chat: '<path d="M20.5 11.5a7.5 7.5 0 0 1-11 6.6L4 19.5l1.5-4.6a7.5 7.5 0 1 1 15-3.4z"/>',
  leave:
    '<path d="M12 8.5c3.6 0 6.6 1 8.6 2.6 1 .8 1 2 .4 3l-.7 1.2c-.4.7-1.300.9-2 .6l-2.400-1a1.600 1.600 0 0 1-.9-1.500v-1.500a12 12 0 0 0-6 0v1.500c0 .6-.4 1.200-.9 1.500l-2.400 1c-.7.3-1.600.1-2-.6L3 14.100c-.6-1-.6-2.200.4-3C5.400 9.500 8.400 8.500 12 8.500z" fill="currentColor" stroke="none"/>',
  link: '<path d="M10 14a4 4 0 0 0 5.700 0l3-3A4 4 0 0 0 13 5.300l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3A4 4 0 0 0 11 18.700l1-1"/>',
  check: '<path d="m5 12.500 4.500 4.500L19 7.500"/>',
  people:
    '<circle cx="9" cy="8.500" r="3.500"/><path d="M2.500 19.500a6.500 6.500 0 0 1 13 0M16 5.300a3.500 3.500 0 0 1 0 6.400M18.500 14.200a6.500 6.500 0 0 1 3 5.300"/>',
  close: '<path d="M6 6l12 12M18 6 6 18"/>',
  send: '<path d="M4.500 12 20 4.500l-4.500 15-3.800-6.200zM11.700 13.300 20 4.500"/>',
  enlarge: '<path d="M14 4h6v6M20 4l-7 7M10 20H4v-6M4 20l7-7"/>',
  shrink: '<path d="M19.500 10.500h-6v-6M13.500 10.500l7-7M4.500 13.500h6v6M10.500 13.500l-7 7"/>',
} as const;

export type IconName = keyof typeof SHAPES;

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.classList.add('icon');
  svg.innerHTML = SHAPES[name];
  return svg;
}
