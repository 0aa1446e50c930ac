// The installed Chromium without a window, and what its pages complain about.
import { execFileSync } from 'node:child_process';
import { chromium } from 'playwright-core';

/** Prints one JSON line. */
export const say = (event, about) => console.log(JSON.stringify({ event, ...about }));

function installed() {
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    try {
      return execFileSync('which', [name], { encoding: 'utf8' }).trim();
    } catch {
      // The next name.
    }
  }
  throw new Error('no Chromium: run tests/setup.sh test');
}

/** A browser that ends when standard input does. */
export async function launch(options) {
  // The empty name makes a folder for this run only.
  const context = await chromium.launchPersistentContext('', {
    executablePath: installed(),
    headless: true,
    viewport: { width: 1280, height: 900 },
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    ...options,
  });
  process.stdin.on('end', () => context.close().then(() => process.exit(0))).resume();
  return context;
}

/** Collects what the pages of a context complain about, each as {text, url}. */
export function listen(context) {
  const errors = [];
  const watch = (page) => {
    page.on('pageerror', (error) => errors.push({ text: error.message, url: page.url() }));
    page.on('console', (message) => {
      if (message.type() === 'error') errors.push({ text: message.text(), url: message.location().url });
    });
  };
  context.pages().forEach(watch);
  context.on('page', watch);
  return errors;
}
