import '@mantine/core/styles.css';
import '@xyflow/react/dist/base.css';
import './app.css';
import { MantineProvider } from '@mantine/core';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { ApiError } from './api';
import { App } from './app';
import { Clock } from './parts/time';
import { theme } from './theme';

const cache = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5 * 60_000, // the stream tells when an answer is stale
      refetchOnWindowFocus: false,
      retry: (tries, error) => !(error instanceof ApiError && error.status < 500) && tries < 2,
    },
  },
});

const nonce = document.querySelector<HTMLMetaElement>('meta[property=csp-nonce]')?.nonce ?? '';
const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <MantineProvider theme={theme} defaultColorScheme="auto" getStyleNonce={() => nonce}>
        <QueryClientProvider client={cache}>
          <Clock>
            <App />
          </Clock>
        </QueryClientProvider>
      </MantineProvider>
    </StrictMode>,
  );
}
