"use strict";
// The interactive viewer of a case: window.spineCase (from cases/CASE.js) shown by NiiVue, with labelled controls.
(async () => {
  const AXIS = { sagittal: 0, coronal: 1, axial: 2 };  // of NiiVue's volumes, which are in RAS order
  const OVERLAY_OPACITY = 0.5;
  const message = document.getElementById("viewer-message");
  const tools = document.getElementById("viewer-tools");
  const canvas = document.getElementById("viewer-canvas");
  const content = window.spineCase;

  const say = (text) => { message.textContent = text; message.hidden = !text; };
  if (!content || !window.niivue) {
    return say("The viewer's files are not here. Copy the whole folder of the report; the slices above show the same.");
  }
  if (!document.createElement("canvas").getContext("webgl2")) {
    return say("This browser has no WebGL 2, which the viewer needs; the slices above show the same.");
  }

  const colourMap = (hex) => {
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    return { R: [0, r], G: [0, g], B: [0, b], A: [0, 255], I: [0, 255] };
  };

  const start = async () => {
    tools.hidden = false;
    const viewer = new niivue.Niivue({
      backColor: [0, 0, 0, 1], crosshairColor: [1, 1, 1, 0.4], crosshairWidth: 0.5, dragAndDropEnabled: false, logLevel: "error",
      isNearestInterpolation: true, sagittalNoseLeft: true, isRadiologicalConvention: true, show3Dcrosshair: false,
    });
    viewer.opts.multiplanarShowRender = niivue.SHOW_RENDER ? niivue.SHOW_RENDER.NEVER : 0;
    await viewer.attachToCanvas(canvas);
    for (const [index, layer] of content.layers.entries()) {
      const options = { name: `${layer.label}.nii.gz`, base64: layer.base64 };
      if (layer.colour) {
        viewer.addColormap(`layer${index}`, colourMap(layer.colour));
        Object.assign(options, { colormap: `layer${index}`, opacity: OVERLAY_OPACITY, cal_min: 0, cal_max: 1 });
      } else {
        Object.assign(options, { colormap: "gray", cal_min: content.window[0], cal_max: content.window[1] });
      }
      viewer.addVolume(await niivue.NVImage.loadFromBase64(options));
    }
    connect(viewer);
    say("");
  };

  const connect = (viewer) => {
    const sliders = [...tools.querySelectorAll("[data-plane]")];
    const size = viewer.volumes[0].dimsRAS.slice(1, 4);
    const name = (plane, index) => {  // sagittal slices as the pictures count them
      if (plane !== "sagittal") return `${index + 1} of ${size[AXIS[plane]]}`;
      const place = content.leftIsLast ? content.lastSlice - index : content.firstSlice + index;
      return `${place} of ${content.slices}`;
    };
    const show = () => {
      for (const slider of sliders) {
        const axis = AXIS[slider.dataset.plane];
        const index = Math.min(size[axis] - 1, Math.max(0, Math.floor(viewer.scene.crosshairPos[axis] * size[axis])));
        const input = slider.querySelector("input");
        input.value = index;
        const text = name(slider.dataset.plane, index);
        slider.querySelector("output").textContent = text;
        input.setAttribute("aria-valuetext", text);
      }
    };
    const choosePlane = (plane) => {
      const kinds = niivue.SLICE_TYPE;
      viewer.setSliceType({ sagittal: kinds.SAGITTAL, coronal: kinds.CORONAL, axial: kinds.AXIAL,
        all: kinds.MULTIPLANAR }[plane]);
      for (const slider of sliders) slider.hidden = plane !== "all" && plane !== slider.dataset.plane;
    };
    for (const slider of sliders) {
      const axis = AXIS[slider.dataset.plane];
      const input = slider.querySelector("input");
      input.max = size[axis] - 1;
      input.addEventListener("input", () => {
        viewer.scene.crosshairPos[axis] = (Number(input.value) + 0.5) / size[axis];
        viewer.drawScene();
        show();
      });
    }
    for (const box of tools.querySelectorAll("[data-layer]")) {
      const index = Number(box.dataset.layer);
      const opacity = content.layers[index].colour ? OVERLAY_OPACITY : 1;
      const apply = () => viewer.setOpacity(index, box.checked ? opacity : 0);
      box.addEventListener("change", apply);
      apply();
    }
    const planes = document.getElementById("viewer-plane");
    planes.addEventListener("change", () => choosePlane(planes.value));
    const smooth = document.getElementById("viewer-smooth");
    smooth.addEventListener("change", () => viewer.setInterpolation(!smooth.checked));
    viewer.onLocationChange = show;
    viewer.scene.crosshairPos = viewer.mm2frac(content.positionMm);
    choosePlane(planes.value);
    show();
    window.spineViewer = viewer;
  };

  try {
    await start();
  } catch (error) {
    tools.hidden = true;
    say(`The viewer could not start (${error.message}); the slices above show the same.`);
  }
})();
