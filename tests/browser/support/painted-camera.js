// A camera for pictures of the page: somebody painted on a canvas, in place of Chromium's test
// pattern. The rest of the way is the real one.

/**
 * @typedef {object} Look  colours as CSS writes them
 * @property {[string, string]} wall  top and bottom
 * @property {string} skin
 * @property {string} hair
 * @property {'short' | 'long' | 'bun' | 'curly'} cut
 * @property {string} shirt
 * @property {'window' | 'shelf' | 'plant' | 'lamp'} behind
 * @property {boolean} [glasses]
 * @property {boolean} [speaks]  else the microphone hears nothing
 */

/**
 * Runs in the page, before its own code: the camera shows this person from now on.
 * @param {Look} look
 */
export function paintCamera(look) {
  const WIDTH = 640;
  const HEIGHT = 360;
  const FRAMES_PER_SECOND = 8;
  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const pen = canvas.getContext('2d');

  const fill = (style, draw) => {
    pen.fillStyle = style;
    pen.beginPath();
    draw();
    pen.fill();
  };
  const ellipse = (style, x, y, rx, ry) => fill(style, () => pen.ellipse(x, y, rx, ry, 0, 0, 7));
  const box = (style, x, y, w, h, r = 0) => fill(style, () => pen.roundRect(x, y, w, h, r));
  const shade = (top, bottom, height = HEIGHT) => {
    const gradient = pen.createLinearGradient(0, 0, WIDTH * 0.3, height);
    gradient.addColorStop(0, top);
    gradient.addColorStop(1, bottom);
    return gradient;
  };

  const behind = {
    window() {
      box('#ffffff2e', 418, 34, 168, 190, 6);
      box(shade('#bfe3ff', '#f7e6c8', 240), 426, 42, 72, 174, 3);
      box(shade('#bfe3ff', '#f7e6c8', 240), 506, 42, 72, 174, 3);
    },
    shelf() {
      const books = ['#d9694f', '#e8b04a', '#4f8a8b', '#7a6cc4', '#d8cfc0', '#3f5873'];
      for (const [row, y] of [70, 160, 250].entries()) {
        box('#0000003d', 30, y + 62, 200, 8, 2);
        for (let i = 0; i < 8; i++) {
          const height = 38 + ((i * 7 + row * 11) % 22);
          box(books[(i * 2 + row) % books.length], 38 + i * 23, y + 62 - height, 17, height, 2);
        }
      }
    },
    plant() {
      box('#c77b58', 500, 262, 74, 98, 8);
      for (const [angle, size] of [-1.1, -0.6, -0.15, 0.3, 0.75, 1.2].map((a, i) => [
        a,
        92 + (i % 3) * 18,
      ])) {
        pen.save();
        pen.translate(537, 266);
        pen.rotate(angle);
        ellipse(size > 100 ? '#4f9a6b' : '#3c7f58', 0, -size * 0.62, 17, size * 0.62);
        pen.restore();
      }
    },
    lamp() {
      const glow = pen.createRadialGradient(540, 110, 8, 540, 110, 170);
      glow.addColorStop(0, '#ffe3a8cc');
      glow.addColorStop(1, '#ffe3a800');
      fill(glow, () => pen.rect(340, 0, 300, 320));
      box('#00000055', 536, 120, 8, 240);
      fill('#fff3d6', () => {
        pen.moveTo(508, 130);
        pen.lineTo(524, 78);
        pen.lineTo(556, 78);
        pen.lineTo(572, 130);
      });
    },
  };

  const hairBehind = () => {
    const { hair, cut } = look;
    if (cut === 'long') box(hair, 246, 92, 148, 190, 66);
    if (cut === 'bun') ellipse(hair, 320, 66, 30, 28);
    if (cut === 'curly') {
      for (let i = 0; i < 13; i++) {
        const angle = Math.PI * (0.92 + (i / 12) * 1.16);
        ellipse(hair, 320 + 70 * Math.cos(angle), 146 + 72 * Math.sin(angle), 29, 29);
      }
    }
  };

  const head = (talk) => {
    const { skin, hair, cut } = look;
    ellipse(skin, 257, 168, 11, 17);
    ellipse(skin, 383, 168, 11, 17);
    fill(skin, () => {
      pen.moveTo(259, 138);
      pen.bezierCurveTo(259, 60, 381, 60, 381, 138);
      pen.bezierCurveTo(381, 206, 354, 238, 320, 238);
      pen.bezierCurveTo(286, 238, 259, 206, 259, 138);
    });
    fill(hair, () => {
      pen.moveTo(254, 154);
      pen.bezierCurveTo(244, 50, 396, 50, 386, 154);
      pen.bezierCurveTo(380, 118, cut === 'short' ? 350 : 372, 108, 330, 106);
      pen.bezierCurveTo(300, 106, 266, 112, 254, 154);
    });
    for (const x of [295, 345]) {
      ellipse('#fff', x, 160, 9, 7);
      ellipse('#2b2320', x, 160, 5, 6);
      box(hair, x - 13, 142, 26, 5, 3);
    }
    ellipse('#0000001c', 320, 184, 9, 6);
    ellipse('#ff6f6f26', 280, 190, 14, 9);
    ellipse('#ff6f6f26', 360, 190, 14, 9);
    fill('#8d3b3b', () => {
      pen.moveTo(296, 204);
      pen.quadraticCurveTo(320, 210 + talk * 22, 344, 204);
      pen.quadraticCurveTo(320, 206, 296, 204);
    });
    if (!look.glasses) return;
    pen.strokeStyle = '#23262e';
    pen.lineWidth = 4;
    pen.beginPath();
    pen.roundRect(275, 147, 38, 28, 11);
    pen.roundRect(327, 147, 38, 28, 11);
    pen.moveTo(313, 158);
    pen.lineTo(327, 158);
    pen.stroke();
  };

  const paint = () => {
    const time = performance.now() / 1000;
    box(shade(...look.wall), 0, 0, WIDTH, HEIGHT);
    behind[look.behind]();
    pen.save();
    // Larger than life, so that the face fills the tile; breathing and swaying a little.
    pen.translate(320, 360);
    pen.scale(1.12, 1.12);
    pen.translate(-320 + 4 * Math.sin(time * 0.9), -352 + 2 * Math.sin(time * 1.7));
    hairBehind();
    box(look.skin, 294, 214, 52, 70, 18);
    fill('#00000022', () => pen.ellipse(320, 240, 27, 12, 0, 0, Math.PI));
    fill(look.shirt, () => {
      pen.moveTo(172, 380);
      pen.bezierCurveTo(176, 286, 236, 276, 290, 264);
      pen.quadraticCurveTo(320, 296, 350, 264);
      pen.bezierCurveTo(404, 276, 464, 286, 468, 380);
    });
    head(look.speaks ? 0.6 + 0.4 * Math.sin(time * 9) : 0.3);
    pen.restore();
  };
  paint();
  setInterval(paint, 1000 / FRAMES_PER_SECOND);

  const devices = navigator.mediaDevices;
  const original = devices.getUserMedia.bind(devices);
  const voice = async (audio) => (await original({ audio })).getAudioTracks()[0];
  const silence = () =>
    new AudioContext().createMediaStreamDestination().stream.getAudioTracks()[0];
  devices.getUserMedia = async ({ audio, video }) => {
    const stream = new MediaStream();
    if (audio) stream.addTrack(look.speaks ? await voice(audio) : silence());
    if (video) stream.addTrack(canvas.captureStream(FRAMES_PER_SECOND).getVideoTracks()[0]);
    return stream;
  };
}
