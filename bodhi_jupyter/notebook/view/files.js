// Files as attachments of a message, and how much of them the chats can hold.

const MAX_IMAGE = 10 * 2 ** 20;
const MAX_TEXT = 512 * 2 ** 10;
// Pictures above that are made smaller: a photo has more than a model looks at.
const LARGE_IMAGE = 2 ** 20;
const MAX_SIDE = 2048; // pixels
// All that is kept goes to the kernel in one message; above 10 MiB Jupyter's server closes the connection, and it is lost.
const MAX_KEPT = 8 * 2 ** 20;

// Of all the chats, and what is attached.
export function isTooMuch(kept) {
  return new TextEncoder().encode(JSON.stringify(kept)).length > MAX_KEPT;
}

export async function readFile(file) {
  const name = file.name || "pasted";
  if (file.type.startsWith("image/")) {
    const picture = file.size > LARGE_IMAGE ? await shrunk(file) : file;
    if (picture.size > MAX_IMAGE) throw new Error(`${name} is larger than 10 MB.`);
    return { kind: "image", name, url: await dataUrl(picture) };
  }
  if (file.size > MAX_TEXT) throw new Error(`${name} is larger than 512 KB.`);
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    return { kind: "text", name, text };
  } catch {
    throw new Error(`${name} is neither text nor an image.`);
  }
}

// The file itself where it is small enough, or no picture that this browser can draw, or would not become smaller.
async function shrunk(file) {
  const picture = await createImageBitmap(file).catch(() => null);
  const scale = picture ? MAX_SIDE / Math.max(picture.width, picture.height) : 1;
  if (scale >= 1) return file;
  const canvas = new OffscreenCanvas(Math.ceil(picture.width * scale), Math.ceil(picture.height * scale));
  const context = canvas.getContext("2d");
  // A photo as PNG is many times as large. JPEG knows nothing transparent, and would show it black.
  const isPng = file.type === "image/png";
  if (!isPng) Object.assign(context, { fillStyle: "white" }).fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const made = await canvas.convertToBlob({ type: isPng ? file.type : "image/jpeg", quality: 0.9 });
  return made.size < file.size ? made : file;
}

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
