/** The page: settings, boards and panels around one store. */

document.querySelector("#explorer")?.append("The explorer");
