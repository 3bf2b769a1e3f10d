// Search works from a folder on disk too, but for the lines that it quotes from each page it found: a browser lets no
// script read another file there, and would report an error for each.
if (window.location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
