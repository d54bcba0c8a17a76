import '@mantine/core/styles.css';
import '@xyflow/react/dist/base.css';
import './app.css';
import { MantineProvider } from '@mantine/core';
import { QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { ApiError } from './api';
import { App } from './app';
import { Clock } from './parts/time';
import { theme } from './theme';

const cache: QueryClient = new QueryClient({
  queryCache: new QueryCache({
    // A refused read asks who is signed in; the answer decides what the page shows.
    onError: (error, query) => {
      if (error instanceof ApiError && error.status === 401 && query.queryKey[0] !== 'session') void cache.invalidateQueries({ queryKey: ['session'] });
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 5 * 60_000, // the stream tells when an answer is stale
      refetchOnWindowFocus: false,
      networkMode: 'always', // the server may be on this machine, which may be offline
      retry: (tries, error) => !(error instanceof ApiError && error.status < 500) && tries < 2,
    },
    mutations: { networkMode: 'always' },
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
