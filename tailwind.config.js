/**
 * The design tokens under the names that utilities use: bg-surface, text-muted, border-line-strong, bg-ok-bg. Their values
 * for the light and the dark theme are in views/app.css, together with the contrast that they were chosen for.
 *
 * @type {import('tailwindcss').Config}
 */
const token = (name) => `var(--c-${name})`;

/** A state's three colours: the graphic (border, bar, icon), the text and the tint behind it. */
const state = (name) => ({ DEFAULT: token(name), fg: token(`${name}-fg`), bg: token(`${name}-bg`) });

module.exports = {
  content: ['./views/*.templ', './views/*.go'],
  theme: {
    extend: {
      colors: {
        canvas: token('canvas'),
        surface: token('surface'),
        sunken: token('sunken'),
        hover: token('hover'),
        select: token('select'),
        line: { DEFAULT: token('line'), strong: token('line-strong') },
        edge: token('edge'),
        button: token('button'),
        fg: token('fg'),
        muted: token('muted'),
        link: token('link'),
        primary: token('primary'),
        focus: token('focus'),
        ok: state('ok'),
        bad: state('bad'),
        warn: state('warn'),
        info: state('info'),
        hold: state('hold'),
      },
      fontSize: {
        xs: ['12px', '16px'],
        sm: ['13px', '20px'],
        base: ['13px', '20px'],
        xl: ['18px', '24px'],
        '2xl': ['22px', '28px'],
      },
      fontFamily: {
        sans: ['"Inter Variable"', 'ui-sans-serif', 'system-ui', '-apple-system', '"Segoe UI"', 'Roboto', 'sans-serif'],
        mono: ['ui-monospace', 'SFMono-Regular', 'Menlo', 'Consolas', '"DejaVu Sans Mono"', 'monospace'],
      },
    },
  },
};
