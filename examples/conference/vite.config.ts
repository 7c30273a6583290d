import { defineConfig } from 'vite';

export default defineConfig({
  root: 'page',
  build: { outDir: '../dist', emptyOutDir: true, target: 'es2022' },
  server: {
    // `npm run dev` beside a running `npm start`.
    proxy: { '/ws': { target: 'ws://127.0.0.1:3000', ws: true } },
  },
});
