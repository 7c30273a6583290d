const RATIO = 16 / 9;
const LEAST_WIDTH = 180;

/** The greatest width (pixels) at which `count` tiles of 16:9 fit into an area. */
export function bestGrid(count: number, width: number, height: number, gap: number): number {
  let best = 0;
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const byWidth = (width - gap * (columns - 1)) / columns;
    const byHeight = ((height - gap * (rows - 1)) / rows) * RATIO;
    best = Math.max(best, Math.floor(Math.min(byWidth, byHeight)));
  }
  // Past that the stage scrolls.
  return Math.max(best, Math.min(LEAST_WIDTH, width));
}
