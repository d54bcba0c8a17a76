import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [react()],
  // internal/monitor puts a fresh nonce in place of this word on every request.
  html: { cspNonce: 'CSP_NONCE' },
  build: { target: 'es2022', sourcemap: false, chunkSizeWarningLimit: 1500, assetsInlineLimit: 0 },
  server: { proxy: { '/api': 'http://127.0.0.1:8016', '/session': 'http://127.0.0.1:8016' } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
